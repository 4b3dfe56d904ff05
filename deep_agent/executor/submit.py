"""Owns how a goal becomes a job: checked, then stored with its root and first hint in one transaction."""

import hashlib
import uuid

from deep_agent.errors import InvalidInput
from deep_agent.executor.changes import added_event, moved_event, start_hint
from deep_agent.htdag.goal import Goal
from deep_agent.htdag.hop import Accepted, EventDraft, IdempotencyKey, NewJob
from deep_agent.htdag.job import Job, JobStatus
from deep_agent.htdag.moves import move
from deep_agent.htdag.node import JobId, Node, NodeKind, NodeSpec, NodeState, child_id
from deep_agent.ports import Clock, Store

MAX_KEY = 255


def accept(
    store: Store,
    clock: Clock,
    goal: Goal,
    *,
    project: str = "default",
    idempotency: IdempotencyKey | None = None,
    root: str = "goal",
) -> Accepted:
    """Store a goal as a job that the next dispatcher works on; with a known key, give back the first job.

    Args:
        store: where jobs live.
        clock: starts the goal's wall budget.
        goal: what is asked; its problems are not read here.
        project: whose job it is.
        idempotency: makes a repeated request the same request.
        root: the method of the root node.

    Raises:
        InvalidInput: a problem stands twice in the goal, or the key is known with another request.
    """
    if len(set(goal.problems)) != len(goal.problems):
        raise InvalidInput("goal.problems names a problem twice.", remedy="Name each problem once.")
    if idempotency is not None and not 0 < len(idempotency.key) <= MAX_KEY:
        raise InvalidInput(f"the idempotency key must have 1 to {MAX_KEY} characters.")
    now_s = clock.now_s()
    job_id = JobId(f"j{uuid.uuid4().hex[:16]}")
    job = Job(
        id=job_id,
        project=project,
        goal=goal,
        status=JobStatus.RUNNING,
        created_s=now_s,
        deadline_s=now_s + goal.budget.wall_s,
        counted_s=now_s,
    )
    spec = NodeSpec(name="goal", kind=NodeKind.COMPOSITE, handler=root)
    waiting = Node(id=child_id(job_id, spec.name), spec=spec)
    node = move(waiting, NodeState.READY, NodeState.EXPANDING, attempt=1, touched=1)
    asked = EventDraft(
        kind="job.accepted",
        payload={"problems": list(goal.problems), "device": goal.device, "wall_s": goal.budget.wall_s},
    )
    return store.accept(
        NewJob(
            job=job,
            root=node,
            hint=start_hint(node, job_id),
            events=(asked, added_event(waiting, job_id), moved_event(node)),
            idempotency=idempotency,
        )
    )


def request_hash(goal: Goal) -> str:
    """Hash what was asked (SHA-256, hex), to tell a repeated request from a reused key."""
    return hashlib.sha256(goal.model_dump_json().encode()).hexdigest()
