"""Owns the numbers a report derives and the way it writes numbers; pure."""

from collections.abc import Iterable
from math import exp, floor, log, log10

from deep_agent.problem.bound import SolBound
from deep_agent.problem.evaluation import Characterization, Evaluation, Ratio

_SI = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def geometric_mean(values: Iterable[float]) -> float | None:
    """Compute the geometric mean of positive values; None when there are none."""
    logs = [log(value) for value in values]
    return exp(sum(logs) / len(logs)) if logs else None


def percent_of_sol(evaluation: Evaluation, bounds: Iterable[SolBound]) -> float | None:
    """Compute 100 x the geometric mean over workloads of bound time over measured time.

    Workloads without a time or without a positive bound are left out; None when none is left.
    """
    bound_us = {bound.workload: bound.time_us for bound in bounds if bound.time_us > 0}
    mean = geometric_mean(
        bound_us[found.uuid] / found.candidate.time_us
        for found in evaluation.workloads
        if found.candidate is not None and found.uuid in bound_us
    )
    return None if mean is None else 100 * mean


def mean_sol_score(evaluation: Evaluation) -> float | None:
    """Average the clamped SOL Scores over the workloads that have one; in [0, 1], None when none has."""
    scores = [found.score.clamped for found in evaluation.workloads if found.score is not None]
    return sum(scores) / len(scores) if scores else None


def best_baseline(characterization: Characterization) -> str:
    """Name the baseline the problem is measured against: the fastest on most workloads, ties by name."""
    names = sorted(characterization.best.values())
    return max(names, key=names.count) if names else "none"


def significant(value: float, digits: int = 3) -> str:
    """Write a finite number with so many significant digits and no exponent: `1234`, `12.3`, `0.0123`."""
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - floor(log10(abs(value))))
    return f"{value:.{decimals}f}"


def tiny(value: float) -> str:
    """Write an error, which may be very small: `0`, `3.1e-07`."""
    return "0" if value == 0 else f"{value:.1e}"


def time(time_us: float) -> str:
    """Write a device time with a fitting unit: `850 ns`, `12.3 µs`, `4.56 ms`, `1.20 s`."""
    if time_us < 1:
        return f"{significant(time_us * 1e3)} ns"
    if time_us < 1e3:
        return f"{significant(time_us)} µs"
    if time_us < 1e6:
        return f"{significant(time_us / 1e3)} ms"
    return f"{significant(time_us / 1e6)} s"


def quantity(value: float, unit: str) -> str:
    """Write a large quantity with an SI prefix: `quantity(2.1e10, "B/s")` is `21.0 GB/s`."""
    for factor, prefix in _SI:
        if value >= factor:
            return f"{significant(value / factor)} {prefix}{unit}"
    return f"{significant(value)} {unit}"


def interval(ratio: Ratio) -> str:
    """Write the 95 % interval of a ratio: `1.52 to 1.61`."""
    return f"{ratio.low:.3f} to {ratio.high:.3f}"
