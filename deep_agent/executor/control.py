"""Owns what users do to a job that runs: cancel, pause, resume; each is idempotent by state."""

from collections.abc import Callable

from deep_agent.errors import Conflict
from deep_agent.htdag.hop import Commit, EventDraft, JobStep, Verdict
from deep_agent.htdag.job import Job, JobStatus
from deep_agent.ports import Clock, JobReads, Store

S = JobStatus


def cancel(store: Store, reads: JobReads, clock: Clock, job_id: str, *, reason: str = "asked by the user") -> Job:
    """Start nothing more, ask what runs to stop; the job is CANCELLED once everything has.

    Every open level winds itself down; nothing reaches from one level into another.

    Versions found so far stay. A job that has ended, or is being cancelled, stays as it is.

    Raises:
        NotFound: no such job.
    """

    def change(job: Job) -> Commit | None:
        if job.has_ended or job.status is S.CANCELLING:
            return None
        return Commit(
            job_id=job.id,
            now_s=clock.now_s(),
            events=(EventDraft(kind="job.cancel_requested", payload={"reason": reason}),),
            job=JobStep(was=frozenset({job.status}), status=S.CANCELLING, reason=reason, resend=True, ask_levels=True),
        )

    return _change(store, reads, job_id, change)


def pause(store: Store, reads: JobReads, clock: Clock, job_id: str) -> Job:
    """Start nothing more until `resume`; what runs goes on, the wall budget stands still.

    Raises:
        NotFound: no such job.
        Conflict: it has ended or is being cancelled.
    """

    def change(job: Job) -> Commit | None:
        if job.status is S.PAUSED:
            return None
        if job.status is not S.RUNNING:
            raise Conflict(f"job {job.id} is {job.status} and cannot be paused.")
        return Commit(
            job_id=job.id,
            now_s=clock.now_s(),
            events=(EventDraft(kind="job.paused", payload={}),),
            job=JobStep(was=frozenset({S.RUNNING}), status=S.PAUSED),
        )

    return _change(store, reads, job_id, change)


def resume(store: Store, reads: JobReads, clock: Clock, job_id: str) -> Job:
    """Let a paused job go on with the wall time it had left; a running job stays as it is.

    Raises:
        NotFound: no such job.
        Conflict: it has ended or is being cancelled.
    """

    def change(job: Job) -> Commit | None:
        if job.status is S.RUNNING:
            return None
        if job.status is not S.PAUSED or job.paused_s is None:
            raise Conflict(f"job {job.id} is {job.status} and cannot be resumed.", remedy="Submit the goal again.")
        now_s = clock.now_s()
        idle_s = max(0.0, now_s - job.paused_s)
        return Commit(
            job_id=job.id,
            now_s=now_s,
            events=(EventDraft(kind="job.resumed", payload={"idle_s": idle_s}),),
            job=JobStep(was=frozenset({S.PAUSED}), status=S.RUNNING, deadline_shift_s=idle_s, resend=True),
        )

    return _change(store, reads, job_id, change)


def forgive_downtime(store: Store, clock: Clock, job: Job, *, idle_s: float) -> None:
    """Give a running job back the wall time in which no dispatcher lived."""
    store.commit(
        Commit(
            job_id=job.id,
            now_s=clock.now_s(),
            events=(EventDraft(kind="job.resumed", payload={"idle_s": idle_s}),),
            job=JobStep(was=frozenset({S.RUNNING}), status=S.RUNNING, deadline_shift_s=idle_s),
        )
    )


def _change(store: Store, reads: JobReads, job_id: str, change: Callable[[Job], Commit | None]) -> Job:
    verdict = Verdict.MOVED
    while verdict is Verdict.MOVED:
        commit = change(reads.job(job_id))
        verdict = Verdict.COMMITTED if commit is None else store.commit(commit)
    return reads.job(job_id)
