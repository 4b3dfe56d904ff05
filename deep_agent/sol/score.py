"""Owns the SOL Score: the share of the gap from baseline to bound that a time closes."""

from math import isfinite

from deep_agent.errors import InvalidInput
from deep_agent.problem.bound import SolScore


def sol_score(*, time_us: float, baseline_us: float, bound_us: float, noise: float = 0.0) -> SolScore:
    """Grade one workload's time.

    The raw score is 1 / (1 + (time - bound) / (baseline - bound)): 0.5 at the baseline, 1 at the bound.
    Below the bound it leaves [0, 1], turns negative or is undefined; `clamped` is 1 there, and `below_sol`
    says that either the bound or the measurement is wrong.

    Args:
        time_us: measured time of the candidate, >= 0.
        baseline_us: measured time of the baseline, >= 0.
        bound_us: the speed-of-light bound, >= 0.
        noise: relative noise of the run, in [0, 1); a time within it of the bound is not called below it.

    Raises:
        InvalidInput: a time is negative or not finite, or the noise is outside [0, 1).
    """
    for name, number in (("time_us", time_us), ("baseline_us", baseline_us), ("bound_us", bound_us)):
        if not (isfinite(number) and number >= 0):
            raise InvalidInput(f"{name} is {number}; a time is finite and not negative.")
    if not 0 <= noise < 1:
        raise InvalidInput(f"noise is {noise}; give the relative noise, from 0 to below 1.")
    raw = _raw(time_us, baseline_us - bound_us, bound_us)
    clamped = 1.0 if time_us <= bound_us else 0.0 if baseline_us <= bound_us or raw is None else min(1.0, max(0.0, raw))
    return SolScore(
        raw=raw,
        clamped=clamped,
        below_sol=time_us < bound_us * (1 - noise),
        baseline_at_sol=baseline_us <= bound_us,
    )


def _raw(time_us: float, gap_us: float, bound_us: float) -> float | None:
    if gap_us <= 0:
        return 1.0 if time_us <= bound_us else 0.0
    closed = gap_us + (time_us - bound_us)
    if closed == 0:
        return None
    ratio = gap_us / closed
    return ratio if isfinite(ratio) else None
