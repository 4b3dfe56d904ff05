"""Owns what is done about attempts whose worker is gone, and about idle time; decides by `decide`, writes by the store."""

from collections.abc import Iterable
from random import Random

from deep_agent.executor import decide
from deep_agent.executor.control import forgive_downtime
from deep_agent.htdag.hop import Lease
from deep_agent.htdag.job import JobStatus
from deep_agent.ports import Clock, Store

WORKER_LOST = "worker_lost"
FORGIVEN_FROM_S = 2.0
"""Shorter gaps are within the precision of the signs of life."""


def reassign(store: Store, clock: Clock, leases: Iterable[Lease], *, rng: Random) -> int:
    """Give every attempt its successor, or fail its node at the cap; give how many there were."""
    count = 0
    for lease in leases:
        store.commit(decide.end_of_lost(lease.held, WORKER_LOST, now_s=clock.now_s(), rng=rng))
        count += 1
    return count


def release(store: Store, clock: Clock, *, owner: str) -> int:
    """Give back what this owner still holds, uncounted: it is stopping, nothing is wrong with the nodes."""
    count = 0
    for lease in store.leases(owner=owner):
        cancelling = lease.held.job.status is JobStatus.CANCELLING
        store.commit(decide.end_of_interrupted(lease.held, cancelling=cancelling, now_s=clock.now_s()))
        count += 1
    return count


def take_over(store: Store, clock: Clock, *, owner: str, rng: Random) -> None:
    """Begin as the only dispatcher: whoever held a lease is gone, and hints may have gone with it.

    Running jobs get back the wall time in which nobody worked on them.
    """
    now_s = clock.now_s()
    last_seen_s = store.beat(owner=owner, now_s=now_s)
    reassign(store, clock, (lease for lease in store.leases() if lease.owner != owner), rng=rng)
    for job in store.running_jobs():
        idle_s = now_s - max(last_seen_s or 0.0, job.counted_s)
        if idle_s >= FORGIVEN_FROM_S and job.status is JobStatus.RUNNING:
            forgive_downtime(store, clock, job, idle_s=idle_s)
    store.resend(sent_before_s=float("inf"))


def sweep(store: Store, clock: Clock, *, owner: str, lease_s: float, resend_after_s: float, rng: Random) -> None:
    """Renew this owner's leases, then reassign those that expired and send again what had no effect."""
    now_s = clock.now_s()
    store.renew(owner=owner, now_s=now_s, lease_s=lease_s)
    reassign(store, clock, store.leases(expired_at_s=now_s), rng=rng)
    store.resend(sent_before_s=now_s - resend_after_s)
