"""Owns what follows an attempt that did not end in an outcome; pure."""

from random import Random
from typing import Literal

from deep_agent.problem.value import FrozenValue

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0


class Again(FrozenValue):
    """Another attempt follows."""

    kind: Literal["again"] = "again"
    at_s: float
    strikes: int


class GiveUp(FrozenValue):
    """The node fails."""

    kind: Literal["give_up"] = "give_up"
    reason: str


def after_loss(reason: str, *, strikes: int, max_attempts: int, now_s: float, rng: Random) -> Again | GiveUp:
    """Decide what follows an attempt lost to infrastructure.

    The wait doubles from FIRST_WAIT_S to at most LONGEST_WAIT_S, plus up to a fifth by chance, so that workers
    hit by one outage do not return together.

    Args:
        reason: what happened, for the last attempt's message.
        strikes: attempts of this node lost before this one.
        max_attempts: attempts that may be lost.
        now_s: seconds since the epoch.
        rng: spreads the waits.
    """
    if strikes + 1 >= max_attempts:
        return GiveUp(reason=f"infrastructure failed {strikes + 1} times, at last: {reason}")
    wait_s = min(FIRST_WAIT_S * 2**strikes, LONGEST_WAIT_S)
    return Again(at_s=now_s + wait_s * (1 + rng.random() / 5), strikes=strikes + 1)
