"""Owns the way from a proposal to a solution not tried before; pure, given a pure lowering."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from deep_agent.errors import InvalidInput
from deep_agent.evolution.operators.operator import Proposal, SearchState, Trial, VariationOperator
from deep_agent.evolution.space import Parameter, Point
from deep_agent.evolution.step import twins
from deep_agent.problem.device import DeviceModel
from deep_agent.problem.problem import Problem
from deep_agent.problem.solution import Solution

MOST_SKIPPED = 50
"""Proposals that may turn out to be known sources before the space counts as used up."""


@dataclass(frozen=True)
class CandidateSpace:
    """What can be tried for one problem on one device."""

    parameters: tuple[Parameter, ...]
    seeds: tuple[Point, ...]
    """Points worth trying first, best guess first."""
    build: Callable[[Point], Solution]
    """Make the solution of a point; raises InvalidInput when the settings exclude each other."""


@dataclass(frozen=True)
class NoSpace:
    """The problem offers nothing to search."""

    reason: str
    """One sentence for the report, naming what stands in the way."""


SpaceOf = Callable[[Problem, DeviceModel], CandidateSpace | NoSpace]
"""Finds the space of a problem; may be slow the first time, equal arguments give equal spaces."""


@dataclass(frozen=True)
class Candidate:
    """A solution to judge."""

    proposal: Proposal
    solution: Solution

    @property
    def note(self) -> str:
        """What is tried, in words for people."""
        settings = ", ".join(f"{name}={setting}" for name, setting in self.proposal.point.items())
        return f"{self.proposal.origin}: {settings or 'the only schedule'}"


def next_candidate(
    operator: VariationOperator, space: CandidateSpace, state: SearchState, rng: Random
) -> tuple[Candidate | None, tuple[Trial, ...]]:
    """Ask until a proposal lowers to a source not tried before.

    Returns:
        The candidate, None when nothing is left; and the trials that were skipped on the way because their
        source is known (they carry its result) or their settings exclude each other (they count as failed).
    """
    skipped: list[Trial] = []
    known = twins(state.trials)
    while len(skipped) < MOST_SKIPPED:
        proposal = operator.propose(replace(state, trials=(*state.trials, *skipped)), rng)
        if proposal is None:
            break
        try:
            solution = space.build(proposal.point)
        except InvalidInput:
            skipped.append(Trial(point=proposal.point, outcome="failed"))
            continue
        twin = known.get(solution.content_hash)
        if twin is None:
            return Candidate(proposal, solution), tuple(skipped)
        skipped.append(twin.model_copy(update={"point": proposal.point}))
    return None, tuple(skipped)
