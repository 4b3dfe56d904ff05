"""Owns the model of a search space: a Gaussian process over discrete points; does not choose points to try.

The kernel is the mean of one kernel a parameter plus their product: the first part lets what is learnt about
one setting count everywhere, the second lets settings interact. Settings are compared by rank, because a
parameter lists its choices so that neighbours are alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import erf, exp, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from deep_agent.evolution.space import Indices, Parameter

Array = NDArray[np.float64]

LENGTH_SCALE = 1.0
"""Distance, as a share of a parameter's range, over which fitness stays alike; a switch has its whole range."""
ADDITIVE_SHARE = 0.7
"""Share of the variance given to the sum of single-parameter effects; the rest is interaction."""
NOISE_LOG = 0.02
"""Standard deviation of one measured log fitness; screens on a busy machine show one to three per cent."""
LEAST_SPREAD_LOG = 0.03
"""Least prior standard deviation of log fitness, for when the first trials happen to be equal."""
NEGLIGIBLE_LOG = 1e-9
"""A deviation below this counts as certainty."""


@dataclass(frozen=True)
class Surrogate:
    """A fitted model; predicts log fitness of points never tried."""

    parameters: tuple[Parameter, ...]
    tried: tuple[Indices, ...]
    mean: float
    """Prior mean of log fitness."""
    spread: float
    """Prior standard deviation of log fitness."""
    weights: Array
    """(n_tried,): inverse covariance times centred fitness."""
    inverse: Array
    """(n_tried, n_tried): inverse of the covariance of the trials."""

    def predict(self, points: Sequence[Indices]) -> tuple[Array, Array]:
        """Give mean and standard deviation of log fitness, both (n_points,); deviations are at least zero."""
        cross = self.spread**2 * _correlation(self.parameters, points, self.tried)
        mean = self.mean + cross @ self.weights
        variance = self.spread**2 - np.einsum("ij,jk,ik->i", cross, self.inverse, cross)
        return mean, np.sqrt(np.maximum(variance, 0.0))


def fit(parameters: tuple[Parameter, ...], tried: Sequence[Indices], fitness: Sequence[float]) -> Surrogate:
    """Fit the model to trials; at least one is needed.

    Args:
        parameters: the space.
        tried: positions of the trials.
        fitness: log fitness of each trial, in the same order.
    """
    values = np.asarray(fitness, dtype=np.float64)
    spread = max(float(values.std()), LEAST_SPREAD_LOG)
    covariance = spread**2 * _correlation(parameters, tried, tried) + NOISE_LOG**2 * np.eye(len(values))
    inverse: Array = np.asarray(np.linalg.inv(covariance), dtype=np.float64)
    mean = float(values.mean())
    return Surrogate(
        parameters=parameters,
        tried=tuple(tried),
        mean=mean,
        spread=spread,
        weights=inverse @ (values - mean),
        inverse=inverse,
    )


def expected_improvement(mean: float, deviation: float, best: float) -> float:
    """Expected gain of a normal draw over `best`, never negative (Jones, Schonlau and Welch 1998, equation 15)."""
    if deviation < NEGLIGIBLE_LOG:
        return max(mean - best, 0.0)
    z = (mean - best) / deviation
    density = exp(-z * z / 2) / sqrt(2 * pi)
    return max(deviation * (z * (1 + erf(z / sqrt(2))) / 2 + density), 0.0)


def _correlation(parameters: tuple[Parameter, ...], left: Sequence[Indices], right: Sequence[Indices]) -> Array:
    """Prior correlation of every pair, (n_left, n_right), within [0, 1]."""
    total: Array = np.zeros((len(left), len(right)))
    joint: Array = np.ones((len(left), len(right)))
    for column, parameter in enumerate(parameters):
        single = _parameter_correlation(parameter)[
            np.ix_([point[column] for point in left], [point[column] for point in right])
        ]
        total += single
        joint *= single
    return ADDITIVE_SHARE * total / max(len(parameters), 1) + (1 - ADDITIVE_SHARE) * joint


def _parameter_correlation(parameter: Parameter) -> Array:
    """Correlation between the settings of one parameter, (n_choices, n_choices)."""
    n_choices = len(parameter.choices)
    rank = np.arange(n_choices) / max(n_choices - 1, 1)
    return np.exp(-(((rank[:, None] - rank[None, :]) / LENGTH_SCALE) ** 2))
