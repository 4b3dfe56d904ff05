"""Legal moves."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep_agent.errors import Conflict
from deep_agent.htdag.moves import LEGAL_MOVES, move
from deep_agent.htdag.node import TERMINAL, UNSTARTED, Node, NodeId, NodeKind, NodeState, RunLimit, child_id
from tests.unit.htdag.htdag_builders import a_spec

S = NodeState


def a_node(state: NodeState, kind: NodeKind = NodeKind.ATOMIC) -> Node:
    return Node(id=NodeId("j.n0"), spec=a_spec("n0", kind), state=state)


def test_every_state_has_its_row_and_exactly_the_terminal_ones_have_no_successor():
    assert set(LEGAL_MOVES) == set(NodeState)
    assert {state for state, following in LEGAL_MOVES.items() if not following} == TERMINAL


def test_every_state_can_reach_an_end():
    for state in NodeState:
        reached, frontier = {state}, {state}
        while frontier := {n for s in frontier for n in LEGAL_MOVES[s]} - reached:
            reached |= frontier
        assert reached & TERMINAL


@pytest.mark.parametrize(("before", "after"), list(itertools.product(sorted(TERMINAL), NodeState)))
def test_a_terminal_node_never_moves(before, after):
    with pytest.raises(Conflict):
        move(a_node(before), after)


def test_only_a_composite_expands_and_only_an_atomic_is_dispatched():
    with pytest.raises(Conflict):
        move(a_node(S.READY), S.EXPANDING)
    with pytest.raises(Conflict):
        move(a_node(S.READY, NodeKind.COMPOSITE), S.DISPATCHED)


def test_a_node_that_ran_is_not_unstarted():
    assert not UNSTARTED & (TERMINAL | {S.RUNNING, S.VALIDATING, S.WAITING_USER})


def test_a_move_through_several_states_checks_each_and_leaves_the_node_alone():
    node = a_node(S.PENDING)
    assert move(node, S.READY, S.DISPATCHED, attempt=1).attempt == 1
    with pytest.raises(Conflict):
        move(node, S.READY, S.DONE)
    assert node.state is S.PENDING


def test_ids_are_made_of_names():
    assert child_id("j1.goal", "optimize-1") == "j1.goal.optimize-1"


@given(
    now_s=st.floats(0, 1e9),
    left_s=st.floats(-1e4, 1e4),
    longest_s=st.none() | st.floats(0.1, 1e4),
    reserve_s=st.floats(0, 1e3),
    least_s=st.floats(0, 1e2),
)
def test_an_attempt_always_gets_its_least_and_otherwise_keeps_every_limit(now_s, left_s, longest_s, reserve_s, least_s):
    limit = RunLimit(longest_s=longest_s, reserve_s=reserve_s, least_s=least_s)
    deadline_s = limit.deadline_s(now_s=now_s, job_deadline_s=now_s + left_s)
    assert deadline_s >= now_s + least_s
    if deadline_s > now_s + least_s:
        assert deadline_s <= now_s + left_s - reserve_s + 1e-6
        assert longest_s is None or deadline_s <= now_s + longest_s + 1e-6
