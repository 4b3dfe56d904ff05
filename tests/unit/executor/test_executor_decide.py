"""What each hop commits, as pure functions."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep_agent.errors import DeepAgentError
from deep_agent.executor import decide
from deep_agent.executor.attempts import LONGEST_WAIT_S, Again, GiveUp, after_loss
from deep_agent.executor.decide import Answer
from deep_agent.htdag.goal import Goal, Spend
from deep_agent.htdag.hop import Claimed, Planning, Verb
from deep_agent.htdag.job import Job, JobStatus
from deep_agent.htdag.level import Level
from deep_agent.htdag.node import JobId, Node, NodeId, NodeKind, NodeSpec, NodeState
from deep_agent.htdag.outcome import Outcome
from deep_agent.htdag.patch import AddNode, Patch

S = NodeState
ROOT = NodeId("j1.goal")


def a_job(status=JobStatus.RUNNING) -> Job:
    goal = Goal(problems=("/p/a",))
    return Job(id=JobId("j1"), project="p", goal=goal, status=status, created_s=0.0, deadline_s=120.0, counted_s=0.0)


def a_spec(name: str, kind=NodeKind.ATOMIC, **changes) -> NodeSpec:
    return NodeSpec(name=name, kind=kind, handler="noop", **changes)


def claimed(**changes) -> Claimed:
    node = Node(id=NodeId("j1.goal.n0"), spec=a_spec("n0", max_attempts=3), state=S.RUNNING, attempt=2, **changes)
    return Claimed(job=a_job(), node=node, level_id=ROOT, inputs={})


def planning(level: Level | None, *, status=JobStatus.RUNNING, state=S.RUNNING) -> Planning:
    node = Node(id=ROOT, spec=a_spec("goal", NodeKind.COMPOSITE), state=state, attempt=1)
    return Planning(job=a_job(status), node=node, level_id="j1", inputs={}, level=level, open_composites={})


def adding(*specs: NodeSpec, revision=0) -> Answer:
    return Answer(
        patch=Patch(
            level=ROOT, base_revision=revision, reason="test", operations=tuple(AddNode(spec=spec) for spec in specs)
        )
    )


def opened(*specs: NodeSpec, status=JobStatus.RUNNING):
    return decide.opened(planning(None, status=status, state=S.EXPANDING), adding(*specs), max_children=9, now_s=1.0)


def test_expanding_opens_the_level_and_starts_what_is_free():
    commit, level = opened(a_spec("n0"), a_spec("sub", NodeKind.COMPOSITE))
    assert [(step.level_id, step.opens) for step in commit.levels] == [("j1", False), (ROOT, True)]
    assert [(hint.verb, hint.node_id) for hint in commit.hints] == [
        (Verb.RUN, "j1.goal.n0"),
        (Verb.EXPAND, "j1.goal.sub"),
    ]
    assert commit.changed[0].node.state is S.RUNNING
    assert level.busy == {"n0", "sub"}


def test_an_empty_answer_on_an_idle_level_closes_it_and_asks_for_its_end():
    _, level = opened(a_spec("n0"))
    running = decide.answered(planning(level), Answer(), max_children=9, now_s=2.0)[0]
    assert [hint.verb for hint in running.hints] == []
    empty = Level(owner=ROOT, revision=4)
    commit, level = decide.answered(planning(empty), Answer(), max_children=9, now_s=2.0)
    assert level.closed
    assert [(hint.verb, hint.attempt) for hint in commit.hints] == [(Verb.SETTLE, 1)]


def test_a_patch_that_starts_nothing_leads_to_another_question():
    commit, level = decide.answered(planning(Level(owner=ROOT)), adding(), max_children=9, now_s=2.0)
    assert not level.closed
    assert [hint.verb for hint in commit.hints] == [Verb.REVISE]


def test_a_patch_over_the_cap_changes_nothing():
    with pytest.raises(DeepAgentError):
        decide.answered(planning(Level(owner=ROOT)), adding(a_spec("n0"), a_spec("n1")), max_children=1, now_s=2.0)


@pytest.mark.parametrize(
    ("answer", "status"), [(Answer(fault="broken"), JobStatus.RUNNING), (Answer(), JobStatus.CANCELLING)]
)
def test_a_fault_and_a_cancel_withdraw_what_has_not_started_and_its_hints(answer, status):
    _, level = opened(a_spec("n0"), a_spec("n1"))
    commit, level = decide.answered(planning(level, status=status), answer, max_children=9, now_s=2.0)
    assert level.closed
    assert {change.node.state for change in commit.changed} == {S.RESCINDED}
    assert commit.withdrawn == ("run:j1.goal.n0:1", "run:j1.goal.n1:1")


def test_an_outcome_ends_its_node_and_asks_its_level():
    commit = decide.end_of_run(claimed(), Outcome(outputs={"x": 1}, spend=Spend(tokens=3)), now_s=9.0)
    (change,) = commit.changed
    assert (change.node.state, change.was_attempt, change.node.ended_s) == (S.DONE, 2, 9.0)
    assert commit.spend.tokens == 3
    assert [hint.key for hint in commit.hints] == ["revise:j1.goal:0"]


def test_a_plan_is_kept_as_an_output():
    patch = adding(a_spec("n9")).patch
    commit = decide.end_of_run(claimed(), Outcome(patch=patch), now_s=9.0)
    assert Patch.model_validate(commit.changed[0].node.outputs["patch"]) == patch


def test_a_drained_attempt_is_followed_by_another_that_does_not_count():
    commit = decide.end_of_interrupted(claimed(strikes=1), cancelling=False, now_s=9.0)
    node = commit.changed[0].node
    assert (node.state, node.attempt, node.strikes) == (S.DISPATCHED, 3, 1)
    assert commit.hints[0].key == "run:j1.goal.n0:3"


def test_a_cancelled_attempt_is_withdrawn():
    commit = decide.end_of_interrupted(claimed(), cancelling=True, now_s=9.0)
    assert commit.changed[0].node.state is S.RESCINDED


def test_a_lost_attempt_is_repeated_up_to_the_cap_and_then_fails_the_node():
    again = decide.end_of_lost(claimed(strikes=1), "worker_lost", now_s=9.0, rng=Random(1))
    node = again.changed[0].node
    assert (node.state, node.attempt, node.strikes) == (S.DISPATCHED, 3, 2)
    assert again.hints[0].not_before_s > 9.0
    over = decide.end_of_lost(claimed(strikes=2), "worker_lost", now_s=9.0, rng=Random(1))
    assert over.changed[0].node.state is S.FAILED
    assert "worker_lost" in over.changed[0].node.reason


@pytest.mark.parametrize(
    ("status", "outcome", "ends"),
    [
        (JobStatus.RUNNING, Outcome(outputs={"solved": 1}), JobStatus.SUCCEEDED),
        (JobStatus.RUNNING, Outcome(status="failed", reason="why"), JobStatus.FAILED),
        (JobStatus.CANCELLING, Outcome(), JobStatus.CANCELLED),
    ],
)
def test_the_end_of_the_root_is_the_end_of_the_job(status, outcome, ends):
    commit = decide.settled(planning(Level(owner=ROOT, closed=True), status=status), outcome, now_s=9.0)
    assert commit.job.status is ends
    assert commit.while_status is status
    assert commit.hints == ()
    ended = commit.events[-1]
    assert (ended.kind, ended.payload["status"], ended.announce) == ("job.ended", ends.value, True)


def test_a_revise_that_was_answered_already_has_nothing_to_do():
    _, level = opened(a_spec("n0"))
    assert not decide.needs_answer(planning(level))
    assert decide.needs_answer(planning(level, status=JobStatus.CANCELLING))
    assert not decide.needs_answer(planning(Level(owner=ROOT, closed=True)))
    assert not decide.needs_answer(planning(None))


@given(strikes=st.integers(0, 40), cap=st.integers(1, 40), seed=st.integers())
def test_waits_grow_up_to_a_limit_and_attempts_end(strikes, cap, seed):
    following = after_loss("x", strikes=strikes, max_attempts=cap, now_s=100.0, rng=Random(seed))
    if strikes + 1 >= cap:
        assert isinstance(following, GiveUp)
        return
    assert isinstance(following, Again)
    assert following.strikes == strikes + 1
    assert 100.0 < following.at_s <= 100.0 + 1.2 * LONGEST_WAIT_S
