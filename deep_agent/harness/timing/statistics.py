"""Turns paired rounds into ratios with intervals, and decides when enough was measured. Pure.

The unit is the log ratio of one round: reference arm's time over candidate's. Rounds are paired, so drift of
the machine cancels; intervals are bootstrapped over rounds, 95 %, from a fixed seed so that equal samples
give equal intervals.
"""

from collections.abc import Sequence
from math import hypot
from typing import Final

import numpy as np
from numpy.typing import NDArray

from deep_agent.problem.evaluation import Ratio

N_RESAMPLES: Final = 4000
_BOOTSTRAP_SEED: Final = 20_071
_COVERAGE: Final = 95.0
MIN_RESOLUTION: Final = 1e-4
"""A ratio is never claimed to be known better than this: the clock and the call cost more."""

LogRatios = NDArray[np.float64]


def log_ratios(reference_us: Sequence[float], candidate_us: Sequence[float]) -> LogRatios:
    """Give ln(reference / candidate) of each round; both of shape (n_rounds,), positive."""
    return np.log(np.asarray(reference_us, dtype=np.float64)) - np.log(np.asarray(candidate_us, dtype=np.float64))


def ratio(
    per_workload: Sequence[LogRatios], *, resolution: float = MIN_RESOLUTION, coverage: float = _COVERAGE
) -> Ratio:
    """Estimate the geometric mean over workloads of the ratio, with its bootstrap interval.

    A workload's value is the trimmed mean of its log ratios (a fifth cut at each end, which a neighbour's
    burst of work does not move); workloads count equally. The interval of few rounds is widened by
    Student's factor, since a bootstrap of n points is too narrow by about sqrt((n - 1) / n) and more in the tails.

    Args:
        per_workload: log ratios of each workload, of shape (n_rounds,), n_rounds >= 1.
        resolution: what two processes that run the same code may differ by all the time, which no number of rounds
            shows; the interval reaches at least as far on either side, and farther where rounds scatter too.
        coverage: of the interval, in percent.
    """
    rng = np.random.default_rng(_BOOTSTRAP_SEED)
    center = float(np.mean([_trimmed_mean(samples[np.newaxis, :])[0] for samples in per_workload]))
    resampled = np.mean([_trimmed_mean(_resample(samples, rng)) for samples in per_workload], axis=0)
    n_rounds = min(len(samples) for samples in per_workload)
    low, high = np.percentile(resampled, [(100 - coverage) / 2, (100 + coverage) / 2])
    widen = _small_sample_factor(n_rounds)
    low = center - hypot((center - low) * widen, resolution)
    high = center + hypot((high - center) * widen, resolution)
    return Ratio(value=float(np.exp(center)), low=float(np.exp(low)), high=float(np.exp(high)), n_rounds=n_rounds)


def _trimmed_mean(samples: LogRatios) -> LogRatios:
    """Mean of the middle three fifths along the last axis; samples of shape (n, n_rounds)."""
    n_rounds = samples.shape[-1]
    cut = n_rounds // 5
    ordered = np.sort(samples, axis=-1)
    middle: LogRatios = ordered[..., cut : n_rounds - cut].mean(axis=-1)
    return middle


def _resample(samples: LogRatios, rng: np.random.Generator) -> LogRatios:
    return samples[rng.integers(0, len(samples), size=(N_RESAMPLES, len(samples)))]


def _small_sample_factor(n_rounds: int) -> float:
    """Student's 97.5 % point over the normal's, by its asymptotic expansion, times sqrt(n / (n - 1))."""
    if n_rounds < 2:
        return 50.0
    z, freedom = 1.96, n_rounds - 1
    student = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    return float(student / z * np.sqrt(n_rounds / (n_rounds - 1)))


def is_hopeless(against: Ratio, *, floor: float) -> bool:
    """Whether even the upper end of the interval lies below the floor: measuring on cannot help."""
    return against.high < floor


def is_precise(against: Ratio, *, half_width: float) -> bool:
    """Whether the interval is already narrower than asked, in log terms on each side."""
    return float(np.log(against.high / against.low)) / 2 < half_width
