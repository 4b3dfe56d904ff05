"""Patches: all or nothing, acyclic, terminal nodes immutable; and the ready set."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from deep_agent.errors import Conflict, DeepAgentError, InvalidInput
from deep_agent.htdag.apply import advance, apply_patch, wind_down
from deep_agent.htdag.level import Level
from deep_agent.htdag.moves import move
from deep_agent.htdag.node import TERMINAL, UNSTARTED, NodeKind, NodeState
from deep_agent.htdag.patch import AddNode, Connect, Edge, Hold, Rescind, SetParam, Supersede
from tests.unit.htdag.htdag_builders import OWNER, a_patch, a_spec, add, operations

S = NodeState


def applied(level: Level, *ops, base=None, max_children=20) -> Level:
    return apply_patch(level, a_patch(level, *ops, base=base), max_children=max_children, now_s=1.0)


def with_state(level: Level, name: str, *steps: NodeState) -> Level:
    level = level.draft()
    node = move(level.node(name), *steps, touched=level.revision, **({"ended_s": 1.0} if steps[-1] in TERMINAL else {}))
    return level.with_nodes(node)


def done(level: Level, name: str) -> Level:
    return with_state(level, name, S.READY, S.DISPATCHED, S.RUNNING, S.VALIDATING, S.DONE)


def a_chain() -> Level:
    return applied(Level(owner=OWNER), add("n0"), add("n1", "n0"), add("n2", "n1"))


def test_a_cycle_is_refused_and_named():
    with pytest.raises(InvalidInput, match="n0"):
        applied(a_chain(), Connect(edge=Edge(src="n2", dst="n0")))


def test_an_unknown_predecessor_and_a_doubled_name_are_refused():
    with pytest.raises(InvalidInput, match="no node 'n7'"):
        applied(a_chain(), add("n3", "n7"))
    with pytest.raises(InvalidInput, match="already"):
        applied(a_chain(), add("n0"))


def test_a_refused_patch_leaves_the_level_as_it_was():
    level = a_chain()
    before = replace(level)
    with pytest.raises(DeepAgentError):
        applied(level, add("n3"), Rescind(name="n1", reason="x"), Connect(edge=Edge(src="n2", dst="n0")))
    assert level == before


def test_a_patch_for_another_level_or_a_closed_one_is_refused():
    level = a_chain()
    with pytest.raises(InvalidInput):
        apply_patch(replace(level, owner="j2"), a_patch(level, add("n3")), max_children=9, now_s=0.0)
    with pytest.raises(Conflict):
        applied(replace(level, closed=True), add("n3"))


def test_a_patch_is_refused_when_a_node_it_names_changed_since_its_base_and_rebased_otherwise():
    level = a_chain()
    moved = with_state(level, "n0", S.PAUSED)
    with pytest.raises(Conflict, match="after the patch's base"):
        applied(moved, SetParam(name="n0", key="k", value=1), base=level.revision)
    assert applied(moved, SetParam(name="n1", key="k", value=1), base=level.revision).node("n1").spec.params == {"k": 1}


def test_the_cap_on_children_counts_ended_ones():
    with pytest.raises(InvalidInput, match="3 are allowed"):
        applied(a_chain(), add("n3"), max_children=3)


def test_a_consumer_may_not_be_left_waiting_for_a_withdrawn_node():
    with pytest.raises(InvalidInput, match="would wait for 'n1'"):
        applied(a_chain(), Rescind(name="n1", reason="x"))
    level = applied(a_chain(), Rescind(name="n1", reason="x"), Rescind(name="n2", reason="x"))
    assert level.node("n1").state is S.RESCINDED


def test_superseding_a_done_node_keeps_its_row_and_rebinds_what_has_not_started():
    level = done(a_chain(), "n0")
    level = applied(level, Supersede(name="n0", spec=a_spec("n7")))
    assert level.node("n0").state is S.DONE
    assert level.node("n7").replaces == "n0"
    assert level.before["n1"] == ("n7",)
    assert not level.startable() or level.startable()[0].name == "n7"


def test_superseding_an_unstarted_node_ends_it():
    level = applied(a_chain(), Supersede(name="n1", spec=a_spec("n7"), after=("n0",)))
    assert level.node("n1").state is S.SUPERSEDED
    assert level.before["n2"] == ("n7",)


def test_a_running_node_can_be_neither_withdrawn_nor_replaced():
    level = with_state(a_chain(), "n0", S.READY, S.DISPATCHED, S.RUNNING)
    for operation in (Rescind(name="n0", reason="x"), Supersede(name="n0", spec=a_spec("n7"))):
        with pytest.raises(Conflict):
            applied(level, operation)


def test_advance_starts_what_is_free_and_nothing_else():
    level = a_chain()
    level = advance(level, level.startable())
    assert [level.node(n).state for n in ("n0", "n1", "n2")] == [S.DISPATCHED, S.PENDING, S.PENDING]
    assert level.node("n0").attempt == 1


def test_a_paused_node_does_not_start_until_it_is_resumed():
    level = applied(a_chain(), Hold(op="pause", name="n0"))
    assert level.startable() == ()
    assert [n.name for n in applied(level, Hold(op="resume", name="n0")).startable()] == ["n0"]


def test_a_node_that_was_started_on_cannot_be_made_to_wait_for_another():
    level = a_chain()
    level = applied(advance(level, level.startable()), add("n3"))
    with pytest.raises(Conflict, match="no longer be made to wait"):
        applied(level, Connect(edge=Edge(src="n3", dst="n0")))


def test_winding_down_leaves_running_nodes_alone():
    level = with_state(a_chain(), "n0", S.READY, S.DISPATCHED, S.RUNNING)
    level = wind_down(level, reason="over", now_s=1.0)
    assert [level.node(n).state for n in ("n0", "n1", "n2")] == [S.RUNNING, S.RESCINDED, S.RESCINDED]


@given(st.lists(operations, max_size=12))
def test_equal_patches_give_equal_levels(ops):
    level = Level(owner=OWNER)
    answers = []
    for _ in range(2):
        try:
            answers.append(applied(level, *ops))
        except DeepAgentError as error:
            answers.append(str(error))
    assert answers[0] == answers[1]


class LevelMachine(RuleBasedStateMachine):
    """Random patches and random ends of nodes, against the invariants of the graph."""

    @initialize()
    def open(self):
        self.level = applied(Level(owner=OWNER), add("n0"), add("n1"), add("n2", "n1")).answered(fault="")
        self.ended = {}

    @rule(ops=st.lists(operations, min_size=1, max_size=2), back=st.integers(0, 3))
    def patch(self, ops, back):
        before = self.level
        base = max(0, before.revision - back)
        try:
            after = apply_patch(before, a_patch(before, *ops, base=base), max_children=12, now_s=1.0)
        except DeepAgentError:
            assert self.level == before
            return
        assert after.revision == before.revision + 1
        for name, node in before.nodes.items():
            if node.is_terminal or node.state not in UNSTARTED:
                assert after.nodes[name] == node
        self.level = after.answered(fault="")

    @rule(data=st.data())
    def change_what_there_is(self, data):
        """One operation on siblings that exist: the random patches above mostly name others."""
        known = sorted(self.level.nodes)
        if not known:
            return
        one, two = data.draw(st.sampled_from(known)), data.draw(st.sampled_from(known))
        fresh = a_spec(f"m{len(known)}")
        operation = data.draw(
            st.sampled_from(
                [
                    Connect(edge=Edge(src=one, dst=two)),
                    Supersede(name=one, spec=fresh),
                    Supersede(name=one, spec=fresh, after=(two,)),
                    Hold(op="pause", name=one),
                    Hold(op="resume", name=one),
                    Rescind(name=one, reason="x"),
                    AddNode(spec=fresh, after=(one, two) if one != two else (one,)),
                ]
            )
        )
        self.patch_with(operation)

    def patch_with(self, operation):
        try:
            self.level = applied(self.level, operation).answered(fault="")
        except DeepAgentError:
            return

    @rule()
    def start(self):
        level = self.level.draft()
        started = {node.name for node in level.startable()}
        level = advance(level, level.startable())
        assert {n.name for n in level.nodes.values() if n.state in {S.DISPATCHED, S.EXPANDING}} >= started
        assert level.startable() == ()
        self.level = level

    @rule(pick=st.integers(0, 100), succeeds=st.booleans())
    def end_one(self, pick, succeeds):
        busy = [n for n in self.level.nodes.values() if n.state in {S.DISPATCHED, S.EXPANDING}]
        if not busy:
            return
        node = busy[pick % len(busy)]
        level = self.level.draft()
        end = S.DONE if succeeds else S.FAILED
        before = self.level
        level = level.with_nodes(move(node, S.RUNNING, S.VALIDATING, end, touched=level.revision, ended_s=1.0))
        if not before.startable():
            following = replace(level, edited=frozenset())
            assert {n.name for n in following.startable_since(following)} == {n.name for n in level.startable()}
        self.level = level

    @invariant()
    def acyclic(self):
        assert self.level.cycle() == ()

    @invariant()
    def what_is_kept_along_follows_from_the_nodes(self):
        level = self.level
        idle = TERMINAL | {S.PENDING}
        assert level.busy == {n.name for n in level.nodes.values() if n.state not in idle}
        assert level.fresh == {n.name for n in level.nodes.values() if n.is_terminal and n.touched > level.seen}

    @invariant()
    def terminal_nodes_never_change(self):
        for name, node in self.ended.items():
            assert self.level.nodes[name] == node
        self.ended = {name: node for name, node in self.level.nodes.items() if node.is_terminal}

    @invariant()
    def nothing_runs_before_its_predecessors_are_done(self):
        for node in self.level.nodes.values():
            if node.state in {S.DISPATCHED, S.EXPANDING}:
                waits = [self.level.nodes[src].state for src in self.level.before.get(node.name, ())]
                assert all(state is S.DONE for state in waits), (node.name, waits)

    @invariant()
    def attempts_and_births_are_sound(self):
        born = [node.born for node in self.level.nodes.values()]
        assert born == sorted(set(born))
        assert all(
            node.attempt >= 1 for node in self.level.nodes.values() if node.state in {S.DISPATCHED, S.RUNNING, S.DONE}
        )


TestLevelMachine = LevelMachine.TestCase
TestLevelMachine.settings = settings(max_examples=100, stateful_step_count=20, deadline=None)


def test_composites_expand_where_atomics_are_dispatched():
    level = applied(Level(owner=OWNER), add("n0", kind=NodeKind.COMPOSITE))
    assert advance(level, level.startable()).node("n0").state is S.EXPANDING
