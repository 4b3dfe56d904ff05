"""Owns the schedule operator: classical variation over points, ranked by a surrogate; lowers and measures nothing.

Mutation, crossover and restarts make a pool of points; the surrogate, fitted to every trial so far, says which of
them promises most. The pool keeps the search near what is good, the surrogate carries what was learnt about one
setting to all points that share it. `benchmarks/search.py` compares it with random search.
"""

from random import Random
from typing import Literal

from typing_extensions import override

from deep_agent.evolution.operators.operator import Proposal, SearchState, VariationOperator
from deep_agent.evolution.operators.random import draw_untried
from deep_agent.evolution.operators.surrogate import expected_improvement, fit
from deep_agent.evolution.space import Indices, Parameter, point_at, random_indices

Pool = dict[Indices, Literal["mutation", "crossover", "restart"]]
"""Points to choose from, in the order they were made."""

OPENING_TRIALS = 3
"""Trials with a fitness before the surrogate is asked; until then, seeds and then uniform draws."""
N_PARENTS = 5
"""The best trials from which pools are bred."""
N_CROSSOVERS = 60
N_DOUBLE_MUTATIONS = 60
N_RESTARTS = 200
"""Uniform draws in a pool; they let the search leave the neighbourhood of its parents."""


class ScheduleOperator(VariationOperator):
    """Seeds first, then the point of a bred pool with the highest expected improvement."""

    @override
    def propose(self, state: SearchState, rng: Random) -> Proposal | None:
        """Propose the next seed, else the most promising untried point; None when the space is exhausted."""
        seed = state.next_seed()
        if seed is not None:
            return seed
        fresh = draw_untried(state, rng)
        if fresh is None:
            return None
        scored = sorted(
            ((trial.fitness, indices) for indices, trial in state.placed if trial.fitness is not None), reverse=True
        )
        if len(scored) < OPENING_TRIALS:
            return Proposal(point=point_at(state.parameters, fresh), origin="restart")
        pool = breed(state.parameters, [indices for _, indices in scored[:N_PARENTS]], rng)
        untried: Pool = {indices: origin for indices, origin in pool.items() if indices not in state.tried}
        return most_promising(state, untried or {fresh: "restart"})


def breed(parameters: tuple[Parameter, ...], parents: list[Indices], rng: Random) -> Pool:
    """Make a pool: every one-step mutation of the parents, some two-step ones, crossovers and uniform draws.

    Args:
        parameters: the space.
        parents: good points, best first; at least one.
        rng: decides all but the one-step mutations.
    """
    pool: Pool = {}
    for parent in parents:
        for column, parameter in enumerate(parameters):
            for index in range(len(parameter.choices)):
                pool.setdefault((*parent[:column], index, *parent[column + 1 :]), "mutation")
    for _ in range(N_DOUBLE_MUTATIONS):
        once = _mutated(parameters, rng.choice(parents), rng)
        pool.setdefault(_mutated(parameters, once, rng), "mutation")
    for _ in range(N_CROSSOVERS):
        mother, father = rng.choice(parents), rng.choice(parents)
        child = tuple(rng.choice(pair) for pair in zip(mother, father, strict=True))
        pool.setdefault(child, "crossover")
    for _ in range(N_RESTARTS):
        pool.setdefault(random_indices(parameters, rng), "restart")
    return pool


def _mutated(parameters: tuple[Parameter, ...], indices: Indices, rng: Random) -> Indices:
    """Redraw the setting of one parameter."""
    column = rng.randrange(len(indices))
    return (*indices[:column], rng.randrange(len(parameters[column].choices)), *indices[column + 1 :])


def most_promising(state: SearchState, pool: Pool) -> Proposal:
    """Choose the point of a pool with the highest expected improvement over the best trial.

    A failed trial enters the surrogate as bad as the worst success: its neighbours are avoided, yet one
    failure does not bend the model as an invented extreme would.
    """
    fitness = [trial.fitness for _, trial in state.placed if trial.fitness is not None]
    worst, best = min(fitness), max(fitness)
    surrogate = fit(
        state.parameters,
        [indices for indices, _ in state.placed],
        [worst if trial.fitness is None else trial.fitness for _, trial in state.placed],
    )
    points = list(pool)
    means, deviations = surrogate.predict(points)
    gains = [
        expected_improvement(float(mean), float(deviation), best)
        for mean, deviation in zip(means, deviations, strict=True)
    ]
    chosen = max(range(len(points)), key=gains.__getitem__)
    return Proposal(
        point=point_at(state.parameters, points[chosen]),
        origin=pool[points[chosen]],
        expected_fitness=float(means[chosen]),
    )
