"""Owns the control of the benchmark: uniform draws without replacement; learns nothing from trials."""

from random import Random

from typing_extensions import override

from deep_agent.evolution.operators.operator import Proposal, SearchState, VariationOperator
from deep_agent.evolution.space import Indices, all_indices, point_at, random_indices, space_size

DRAWS_BEFORE_LISTING = 64
"""Draws that may hit a tried point before the untried points are listed; keeps huge spaces cheap."""


class RandomOperator(VariationOperator):
    """Draws uniformly from the points not tried; ignores the seeds, so it is a control for them too."""

    @override
    def propose(self, state: SearchState, rng: Random) -> Proposal | None:
        """Draw one untried point, each with equal chance."""
        indices = draw_untried(state, rng)
        return None if indices is None else Proposal(point=point_at(state.parameters, indices), origin="restart")


def draw_untried(state: SearchState, rng: Random) -> Indices | None:
    """Draw uniformly among the points not tried; None when there is none."""
    if state.is_exhausted:
        return None
    for _ in range(DRAWS_BEFORE_LISTING):
        indices = random_indices(state.parameters, rng)
        if indices not in state.tried:
            return indices
    if space_size(state.parameters) > _LARGEST_LISTING:
        # So many misses in so large a space cannot happen by chance: trials are few beside it.
        return next(indices for indices in all_indices(state.parameters) if indices not in state.tried)
    return rng.choice([indices for indices in all_indices(state.parameters) if indices not in state.tried])


_LARGEST_LISTING = 200_000
