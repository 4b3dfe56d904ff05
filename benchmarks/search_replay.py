"""Owns measured tables of search spaces, the replay of operators over them, and the statistics of curves; pure.

A replayed search asks a table in place of the judge: it costs milliseconds, so hundreds of seeds are cheap, but
it sees each point's one measurement and not the noise of measuring again.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, prod
from pathlib import Path
from random import Random
from statistics import mean, quantiles

from deep_agent.evolution.operators.operator import SearchState, Trial, VariationOperator
from deep_agent.evolution.space import Choice, Parameter, Point, indices_of, point_fingerprint
from deep_agent.problem.value import FrozenValue

N_RESAMPLES = 2000


class Axis(FrozenValue):
    """A parameter of a stored space."""

    name: str
    choices: tuple[Choice, ...]


class Measured(FrozenValue):
    """One point's measurement."""

    point: dict[str, Choice]
    log_speedup: float | None
    """Natural logarithm of library over candidate; None when it failed."""


class Table(FrozenValue):
    """Every point of one problem's space, measured once."""

    problem: str
    device: str
    axes: tuple[Axis, ...]
    seeds: tuple[dict[str, Choice], ...]
    """What the lowering would try first."""
    measured: tuple[Measured, ...]

    def by_fingerprint(self) -> dict[str, float | None]:
        """Index the measurements."""
        return {point_fingerprint(one.point): one.log_speedup for one in self.measured}

    def passing(self) -> list[float]:
        """Log speed-ups of the points that passed, slowest first."""
        return sorted(one.log_speedup for one in self.measured if one.log_speedup is not None)


def save_tables(path: Path, tables: Sequence[Table]) -> None:
    """Write tables as JSON."""
    path.write_text(json.dumps([table.model_dump(mode="json") for table in tables], indent=1) + "\n")


def load_tables(path: Path) -> tuple[Table, ...]:
    """Read tables written by `save_tables`."""
    return tuple(Table.model_validate(one) for one in json.loads(path.read_text()))


def thinned(parameters: Sequence[Parameter], seeds: Sequence[Point], limit: int) -> tuple[Axis, ...]:
    """Drop choices, evenly and never one that a seed uses, until the space has at most `limit` points.

    The largest parameter gives first; a space whose seeds alone span more than the limit stays larger.
    """
    choices = {parameter.name: list(parameter.choices) for parameter in parameters}
    used = {(name, setting) for seed in seeds for name, setting in seed.items()}
    while prod(len(kept) for kept in choices.values()) > limit:
        loose = [
            (len(kept), name, index)
            for name, kept in choices.items()
            for index in range(len(kept))
            if len(kept) > 1 and (name, kept[index]) not in used
        ]
        if not loose:
            break
        _, name, _ = max(loose)
        indices = sorted(index for _, other, index in loose if other == name)
        del choices[name][indices[len(indices) // 2]]
    return tuple(Axis(name=name, choices=tuple(kept)) for name, kept in choices.items())


def replay(operator: VariationOperator, table: Table, *, with_seeds: bool, n_trials: int, seed: int) -> list[float]:
    """Search a table; returns the best log speed-up after each evaluation, n_trials long.

    Until something passes, the worst passing point of the table stands in; after the space is used up, the best stays.
    """
    known, passing = table.by_fingerprint(), table.passing()
    seeds = tuple(one for one in table.seeds if indices_of(table.axes, one) is not None) if with_seeds else ()
    trials: list[Trial] = []
    curve, best = [], passing[0]
    for step in range(n_trials):
        proposal = operator.propose(SearchState(table.axes, seeds, tuple(trials)), Random(f"{seed} {step}"))
        if proposal is not None:
            fitness = known[point_fingerprint(proposal.point)]
            outcome = "failed" if fitness is None else "rejected"
            trials.append(Trial(point=proposal.point, outcome=outcome, fitness=fitness))
            best = best if fitness is None else max(best, fitness)
        curve.append(best)
    return curve


@dataclass(frozen=True)
class Spread:
    """A geometric mean of speed-ups over seeds."""

    mean: float
    low: float
    """Tenth percentile, or the least of few."""
    high: float


def spread(logs: Sequence[float]) -> Spread:
    """Summarise log speed-ups of several seeds."""
    if len(logs) >= 20:
        tenths = quantiles(logs, n=10)
        low, high = tenths[0], tenths[-1]
    else:
        low, high = min(logs), max(logs)
    return Spread(mean=exp(mean(logs)), low=exp(low), high=exp(high))


def advantage(left: Sequence[float], right: Sequence[float]) -> Spread:
    """Ratio of two arms' geometric means, with the 95 % bootstrap interval over their seeds as low and high."""
    rng = Random(0)
    draws = sorted(
        mean(rng.choices(left, k=len(left))) - mean(rng.choices(right, k=len(right))) for _ in range(N_RESAMPLES)
    )
    cut = N_RESAMPLES // 40
    return Spread(mean=exp(mean(left) - mean(right)), low=exp(draws[cut]), high=exp(draws[-cut - 1]))


def evaluations_to_reach(curves: Sequence[Sequence[float]], level: float) -> int | None:
    """How many evaluations an arm's mean curve needs to reach a log speed-up; None when it never does."""
    means = [mean(column) for column in zip(*curves, strict=True)]
    return next((n + 1 for n, value in enumerate(means) if value >= level - 1e-9), None)
