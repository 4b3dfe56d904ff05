"""Owns the commit gate: whether a judged candidate enters the lineage and moves the champion. Pure.

A candidate is compared with the champion, the best confirmed version, never with the last commit; so small
losses, each within tolerance, cannot add up. Failures never become versions.
"""

from math import exp, log
from typing import Annotated, Literal

from pydantic import Field

from deep_agent.problem.evaluation import Evaluation, Ratio
from deep_agent.problem.value import FrozenValue

LEAST_TOLERANCE_LOG = 0.003
"""Tolerance of a match on a machine without noise, as a log ratio."""
LARGEST_TOLERANCE_LOG = 0.012
"""Cap of the tolerance; a noise above it makes a match unprovable, never a win."""
Z_95_TWO_SIDED = 1.960
Z_99_ONE_SIDED = 2.326
PROMISING_GAIN = 1.005
"""Least gain in a screen that is worth the full protocol."""


class Champion(FrozenValue):
    """The best confirmed version of a search."""

    seq: Annotated[int, Field(ge=0)]
    solution_hash: str


class Improve(FrozenValue):
    """The candidate enters the lineage and becomes champion."""

    verdict: Literal["improve"] = "improve"
    kind: Literal["seed", "improve"]
    """seed: the first correct candidate, champion for want of another, even when slower than the library."""
    reason: str


class Match(FrozenValue):
    """As fast as the champion within tolerance; the champion stays."""

    verdict: Literal["match"] = "match"
    wins: tuple[str, ...]
    """Uuids of workloads on which it beats the champion beyond noise."""
    reason: str

    @property
    def enters_lineage(self) -> bool:
        """Whether it is worth a version: only when it wins somewhere."""
        return bool(self.wins)


class Reject(FrozenValue):
    """The candidate stays outside the lineage."""

    verdict: Literal["reject"] = "reject"
    reason: str


GateDecision = Annotated[Improve | Match | Reject, Field(discriminator="verdict")]


def decide(evaluation: Evaluation, *, champion: Champion | None, noise: Ratio) -> Improve | Match | Reject:
    """Decide what becomes of a candidate.

    Args:
        evaluation: the judge's finding under the full protocol; its `gain` is champion over candidate.
        champion: the best confirmed version, None when the search has none yet.
        noise: A/A of this machine, used where the evaluation has none of its own.

    An improvement needs a gain beyond the noise, a 99 % one-sided lower bound above 1, and an interval wholly
    beyond both 1 and the A/A interval, whichever way that one leans.
    """
    if not evaluation.passed:
        return Reject(reason=f"{evaluation.status}: {evaluation.message or 'the judge gave no further words'}")
    if champion is None:
        return _first(evaluation)
    if evaluation.solution_hash == champion.solution_hash:
        return Reject(reason=f"it is version {champion.seq}, the champion, once more")
    n_timed = sum(one.gain is not None for one in evaluation.workloads)
    if evaluation.gain is None or n_timed < len(evaluation.workloads):
        return Reject(reason=_partly_timed(n_timed, evaluation))
    return _compare(evaluation, evaluation.gain, champion, evaluation.noise or noise)


def _first(evaluation: Evaluation) -> Improve | Reject:
    n_timed = sum(one.speedup is not None for one in evaluation.workloads)
    if evaluation.speedup is None or n_timed < len(evaluation.workloads):
        return Reject(reason=_partly_timed(n_timed, evaluation))
    return Improve(
        kind="seed", reason=f"first correct candidate, {evaluation.speedup.value:.3f} times as fast as the library"
    )


def _partly_timed(n_timed: int, evaluation: Evaluation) -> str:
    lead = f"; {evaluation.gain.value:.3f} of the champion's speed on those" if evaluation.gain is not None else ""
    return f"it is correct, but only {n_timed} of {len(evaluation.workloads)} workloads were timed{lead}"


def _compare(evaluation: Evaluation, gain: Ratio, champion: Champion, noise: Ratio) -> Improve | Match | Reject:
    reach = noise_reach_log(noise)
    against = f"{gain.value:.3f} [{gain.low:.3f}, {gain.high:.3f}] of version {champion.seq}'s speed"
    if is_beyond(gain, reach):
        return Improve(kind="improve", reason=f"{against}, beyond the noise of {exp(reach) - 1:.2%}")
    if reach > LARGEST_TOLERANCE_LOG:
        return Reject(reason=f"{against}, which the noise of {exp(reach) - 1:.2%} cannot tell from a loss")
    tolerance = max(reach, LEAST_TOLERANCE_LOG)
    if log(gain.value) >= -tolerance:
        wins = tuple(one.uuid for one in evaluation.workloads if one.gain is not None and is_beyond(one.gain, reach))
        return Match(wins=wins, reason=f"{against}, within the tolerance of {exp(tolerance) - 1:.2%}")
    return Reject(reason=f"{against}, a loss")


def is_beyond(gain: Ratio, reach_log: float) -> bool:
    """Whether a gain is proved: beyond the noise, its interval and its 99 % one-sided bound too."""
    lowest_99 = log(gain.value) - (log(gain.value) - log(gain.low)) * Z_99_ONE_SIDED / Z_95_TWO_SIDED
    return log(gain.low) > max(reach_log, 0.0) and lowest_99 > 0.0


def noise_reach_log(noise: Ratio) -> float:
    """How far from 1 this machine's A/A interval reaches, on either side, as a log ratio; at least zero."""
    return max(log(noise.high), -log(noise.low), 0.0)


def is_better_than_library(evaluation: Evaluation, noise: Ratio) -> bool:
    """Whether a candidate is proved faster than the library's best; a separate fact from being champion.

    Beyond the noise of the library's own twin, and of whatever twin took part in the evaluation.
    """
    if not evaluation.passed or evaluation.speedup is None:
        return False
    return is_beyond(evaluation.speedup, max(noise_reach_log(one) for one in (noise, evaluation.noise or noise)))


def is_promising(screen: Evaluation) -> bool:
    """Whether a screened candidate deserves the full protocol against the champion."""
    return screen.passed and screen.gain is not None and screen.gain.value >= PROMISING_GAIN
