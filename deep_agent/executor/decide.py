"""Owns what each hop commits: apply, as pure functions from what was loaded and answered to one `Commit`."""

from dataclasses import replace
from random import Random

from deep_agent.executor.attempts import GiveUp, after_loss
from deep_agent.executor.changes import LevelDiff, moved_event, planning_hint, start_hint
from deep_agent.htdag.apply import advance, apply_patch, wind_down
from deep_agent.htdag.hop import (
    Claimed,
    Commit,
    EventDraft,
    JobStep,
    LevelStep,
    NodeChange,
    Planning,
    Verb,
)
from deep_agent.htdag.job import JobStatus
from deep_agent.htdag.level import Level
from deep_agent.htdag.moves import move
from deep_agent.htdag.node import UNSTARTED, JsonObject, Node, NodeId, NodeState
from deep_agent.htdag.outcome import Outcome
from deep_agent.htdag.patch import Patch
from deep_agent.problem.value import FrozenValue


class Answer(FrozenValue):
    """What a method said, or why it could not."""

    patch: Patch | None = None
    fault: str = ""


def end_of_run(claimed: Claimed, outcome: Outcome, *, now_s: float) -> Commit:
    """Store an action's outcome; the node is DONE or FAILED, and the level's method is asked."""
    node = claimed.node
    outputs: JsonObject = dict(outcome.outputs)
    if outcome.patch is not None:
        outputs["patch"] = outcome.patch.model_dump(mode="json")
    ended = move(
        node,
        NodeState.VALIDATING,
        NodeState.DONE if outcome.status == "done" else NodeState.FAILED,
        outputs=outputs,
        reason=outcome.reason,
        spend=outcome.spend,
        ended_s=now_s,
    )
    announced = tuple(
        EventDraft(kind=a.type, node_id=node.id, attempt=node.attempt, payload=a.payload, announce=True)
        for a in outcome.announcements
    )
    commit = _of_node(claimed, ended, now_s=now_s)
    return replace(
        commit,
        events=(*commit.events, *announced),
        versions=tuple((node.id, version) for version in outcome.versions),
        spend=outcome.spend,
    )


def end_of_interrupted(claimed: Claimed, *, cancelling: bool, now_s: float) -> Commit:
    """Withdraw a node that acknowledged a cancel; give one that was drained its next attempt, uncounted."""
    node = claimed.node
    if cancelling:
        gone = move(node, NodeState.RESCINDED, reason="cancelled", ended_s=now_s)
        return _of_node(claimed, gone, now_s=now_s)
    again = move(node, NodeState.DISPATCHED, attempt=node.attempt + 1, started_s=None)
    return _of_node(claimed, again, now_s=now_s, cause="drained")


def end_of_lost(claimed: Claimed, reason: str, *, now_s: float, rng: Random) -> Commit:
    """Try again after a wait, or fail at the cap; `reason` says what the infrastructure did."""
    node = claimed.node
    verdict = after_loss(reason, strikes=node.strikes, max_attempts=node.spec.max_attempts, now_s=now_s, rng=rng)
    if isinstance(verdict, GiveUp):
        failed = move(node, NodeState.VALIDATING, NodeState.FAILED, reason=verdict.reason, ended_s=now_s)
        return _of_node(claimed, failed, now_s=now_s)
    again = move(node, NodeState.DISPATCHED, attempt=node.attempt + 1, strikes=verdict.strikes, started_s=None)
    return _of_node(claimed, again, now_s=now_s, cause=reason, not_before_s=verdict.at_s)


def _of_node(at: Claimed, after: Node, *, now_s: float, cause: str = "", not_before_s: float = 0.0) -> Commit:
    """Write one node's move in its level; its attempt fences it, so the level's revision is no condition."""
    dispatched = after.state is NodeState.DISPATCHED
    return Commit(
        job_id=at.job.id,
        now_s=now_s,
        levels=(LevelStep(level_id=at.level_id),),
        changed=(NodeChange(node=after, was_state=at.node.state, was_attempt=at.node.attempt),),
        events=(moved_event(after, cause=cause, not_before_s=not_before_s) if dispatched else moved_event(after),),
        hints=(
            start_hint(after, at.job.id, not_before_s=not_before_s)
            if dispatched
            else planning_hint(Verb.REVISE, at.level_id, at.job.id),
        ),
    )


def needs_answer(planning: Planning) -> bool:
    """Whether a `revise` hop has anything to do; a doubled hint finds nothing."""
    level = planning.level
    if level is None or level.closed:
        return False
    if level.fresh or not level.busy:
        return True
    stopping = level.fault or planning.job.status is JobStatus.CANCELLING
    return bool(stopping) and any(node.state in UNSTARTED for node in level.nodes.values())


def opened(planning: Planning, answer: Answer, *, max_children: int, now_s: float) -> tuple[Commit, Level]:
    """Open a level with its method's first patch; give the commit and the level as it will stand."""
    node = planning.node
    commit, level = answered(
        replace(planning, level=Level(owner=node.id)), answer, max_children=max_children, now_s=now_s
    )
    running = move(node, NodeState.RUNNING, started_s=now_s)
    return replace(
        commit,
        levels=(
            LevelStep(level_id=planning.level_id),
            *(replace(step, base_revision=None, opens=True) for step in commit.levels),
        ),
        changed=(NodeChange(node=running, was_state=node.state, was_attempt=node.attempt), *commit.changed),
        events=(moved_event(running), *commit.events),
    ), level


def answered(planning: Planning, answer: Answer, *, max_children: int, now_s: float) -> tuple[Commit, Level]:
    """Apply what the method said, start what is free, close the level when nothing is left.

    Raises:
        DeepAgentError: the patch cannot be applied; nothing has changed.
    """
    before = planning.level
    assert before is not None
    level = (
        before.draft()
        if answer.patch is None
        else apply_patch(before, answer.patch, max_children=max_children, now_s=now_s)
    )
    stopping = bool(level.fault or answer.fault) or planning.job.status is JobStatus.CANCELLING
    level = level.answered(fault=answer.fault)
    if stopping:
        level = wind_down(level, reason=_why_stopping(level, planning), now_s=now_s)
    else:
        level = advance(level, level.startable_since(before))
    closes = not level.busy and (stopping or answer.patch is None)
    if closes:
        level = replace(wind_down(level, reason="its predecessors did not succeed", now_s=now_s), closed=True)
    diff = LevelDiff(before, level)
    node, job_id = planning.node, planning.job.id
    hints = diff.hints(job_id)
    if closes:
        hints = (*hints, planning_hint(Verb.SETTLE, node.id, job_id, attempt=node.attempt))
    elif not level.busy:
        # The patch left nothing to run: only another question can move the level on.
        hints = (*hints, planning_hint(Verb.REVISE, node.id, job_id))
    closed = (EventDraft(kind="level.closed", node_id=node.id, payload={"fault": level.fault}),) if closes else ()
    return Commit(
        job_id=job_id,
        now_s=now_s,
        levels=(
            LevelStep(level_id=node.id, base_revision=before.revision, seen=True, closed=closes, fault=level.fault),
        ),
        changed=diff.changed,
        added=diff.added,
        edges_added=diff.edges_added,
        edges_removed=diff.edges_removed,
        events=(*diff.events(), *closed),
        hints=hints,
        withdrawn=diff.withdrawn(),
    ), level


def _why_stopping(level: Level, planning: Planning) -> str:
    return "cancelled" if planning.job.status is JobStatus.CANCELLING else level.fault


def settled(planning: Planning, outcome: Outcome, *, now_s: float) -> Commit:
    """End a COMPOSITE whose level is closed; the root's end is the job's."""
    node, job = planning.node, planning.job
    assert planning.level is not None
    if job.status is JobStatus.CANCELLING:
        ended = move(node, NodeState.RESCINDED, reason="cancelled", ended_s=now_s, outputs=outcome.outputs)
    else:
        state = NodeState.DONE if outcome.status == "done" else NodeState.FAILED
        ended = move(node, NodeState.VALIDATING, state, reason=outcome.reason, ended_s=now_s, outputs=outcome.outputs)
    at = Claimed(job=job, node=node, level_id=NodeId(planning.level_id), inputs={})
    commit = replace(_of_node(at, ended, now_s=now_s), while_status=job.status)
    announced = tuple(
        EventDraft(kind=a.type, node_id=node.id, payload=a.payload, announce=True) for a in outcome.announcements
    )
    commit = replace(commit, events=(*commit.events, *announced))
    return _with_job_end(commit, planning, ended) if planning.level_id == job.id else commit


def _with_job_end(commit: Commit, planning: Planning, root: Node) -> Commit:
    status = {NodeState.DONE: JobStatus.SUCCEEDED, NodeState.RESCINDED: JobStatus.CANCELLED}.get(
        root.state, JobStatus.FAILED
    )
    summary = root.outputs or {}
    ended = EventDraft(
        kind="job.ended",
        payload={"status": status.value, "reason": root.reason, "summary": summary},
        announce=True,
    )
    return replace(
        commit,
        hints=(),
        events=(*commit.events, ended),
        job=JobStep(was=frozenset({planning.job.status}), status=status, reason=root.reason, summary=summary),
    )
