"""Search spaces, landscapes and simulated evaluations for the evolution tests."""

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, log
from random import Random

from builders import DOUBLE_CPP, make_evaluation, make_solution, make_workload_evaluation

from deep_agent.evolution.operators.operator import SearchState, Trial, VariationOperator
from deep_agent.evolution.space import Indices, Parameter, all_indices, indices_of
from deep_agent.evolution.version import Version
from deep_agent.problem.evaluation import Evaluation, Ratio

Landscape = Callable[[Indices], float | None]
"""Log fitness of a point; None where it fails."""


@dataclass(frozen=True)
class Axis:
    """A parameter of a test's space."""

    name: str
    choices: tuple[bool | int | str, ...]


SPACE: tuple[Parameter, ...] = (
    Axis("strategy", ("cached", "two_pass")),
    Axis("vector", (1, 4, 8, 16)),
    Axis("unroll", (1, 2, 4, 8)),
    Axis("rows", (1, 2, 4, 8, 16)),
    Axis("streaming", (False, True)),
    Axis("fast_exp", (False, True)),
)


def make_landscape(
    seed: int, space: tuple[Parameter, ...] = SPACE, failing: float = 0.04
) -> dict[Indices, float | None]:
    """A roofline-like landscape: compute effects with interactions, capped softly by memory effects."""
    rng = Random(seed)
    compute = [[rng.gauss(0, 0.2) for _ in axis.choices] for axis in space]
    memory = [[rng.gauss(0, 0.1) for _ in axis.choices] for axis in space]
    joint = {
        (i, j): [[rng.gauss(0, 0.1) for _ in space[j].choices] for _ in space[i].choices]
        for i in range(len(space))
        for j in range(i)
        if rng.random() < 0.3
    }

    def value(point: Indices) -> float | None:
        if rng.random() < failing:
            return None
        speed = sum(row[index] for row, index in zip(compute, point, strict=True))
        speed += sum(table[point[i]][point[j]] for (i, j), table in joint.items())
        ceiling = sum(row[index] for row, index in zip(memory, point, strict=True))
        return -log(exp(-4 * speed) + exp(-4 * ceiling)) / 4

    return {point: value(point) for point in all_indices(space)}


def search(
    operator: VariationOperator, landscape: dict[Indices, float | None], n_trials: int, seed: int
) -> tuple[list[Trial], float]:
    """Run a search against a landscape; returns the trials and the best log fitness found."""
    trials: list[Trial] = []
    noise = Random(seed + 1)
    for step in range(n_trials):
        proposal = operator.propose(SearchState(SPACE, trials=tuple(trials)), Random(f"{seed}-{step}"))
        if proposal is None:
            break
        indices = indices_of(SPACE, proposal.point)
        assert indices is not None
        true = landscape[indices]
        fitness = None if true is None else true + noise.gauss(0, 0.015)
        trials.append(Trial(point=proposal.point, outcome="failed" if fitness is None else "rejected", fitness=fitness))
    found = [landscape[indices_of(SPACE, trial.point) or ()] for trial in trials if trial.fitness is not None]
    return trials, max((value for value in found if value is not None), default=-9.0)


def measured_ratio(true_log: float, error_log: float, rng: Random) -> Ratio:
    """What a judge reports of a true log ratio when its statistic has this standard error."""
    seen = true_log + rng.gauss(0, error_log)
    return Ratio(value=exp(seen), low=exp(seen - 1.96 * error_log), high=exp(seen + 1.96 * error_log), n_rounds=30)


def gated(true_gain: float = 1.0, *, error_log: float = 0.002, rng: Random | None = None, **changes) -> Evaluation:
    """A gate evaluation of a candidate whose true gain over the champion is known."""
    rng = rng or Random(0)
    gain = measured_ratio(log(true_gain), error_log, rng)
    fields = {
        "profile": "gate",
        "solution_hash": "c" * 64,
        "gain": gain,
        "noise": measured_ratio(0.0, error_log, rng),
    }
    return make_evaluation(make_workload_evaluation(gain=gain), **(fields | changes))


def make_version(seq: int = 0, *, kind: str = "seed", content: str = DOUBLE_CPP, **changes) -> Version:
    """A version of `make_solution()`, judged 1.5 times as fast as the library."""
    fields = {
        "seq": seq,
        "kind": kind,
        "node": f"job.goal.optimize-1.evolve.vary-{seq + 1:04d}",
        "parent_sha": None,
        "solution": make_solution(content),
        "evaluation": make_evaluation(),
        "sol_score": 0.667,
        "timestamp_s": 1_800_000_000 + seq,
    }
    return Version.model_validate(fields | changes)
