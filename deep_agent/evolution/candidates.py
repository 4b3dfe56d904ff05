"""Owns the way from a proposal to a solution not tried before; pure, given a pure lowering and pure builds."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from deep_agent.errors import InvalidInput
from deep_agent.evolution.operators.operator import Proposal, SearchState, Trial, VariationOperator
from deep_agent.evolution.space import Parameter, Point
from deep_agent.evolution.step import code_twins, twins
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
    machine_code_hash: str = ""
    """Of the object it was built to; empty where none was asked for or none exists."""

    @property
    def note(self) -> str:
        """What is tried, in words for people."""
        settings = ", ".join(f"{name}={setting}" for name, setting in self.proposal.point.items())
        return f"{self.proposal.origin}: {settings or 'the only schedule'}"


CodeOf = Callable[[Solution], str]
"""Builds a solution and gives its machine code's hash; empty when it does not build or is not compiled."""


def never_built(_solution: Solution) -> str:
    """Know nothing of machine code: only equal sources are twins."""
    return ""


def next_candidate(
    operator: VariationOperator,
    space: CandidateSpace,
    state: SearchState,
    rng: Random,
    *,
    code_of: CodeOf = never_built,
) -> tuple[Candidate | None, tuple[Trial, ...]]:
    """Ask until a proposal lowers to a source, and compiles to machine code, not tried before.

    Returns:
        The candidate, None when nothing is left; and the trials that were skipped on the way because their
        source or their machine code is known (they carry its result) or their settings exclude each other (they
        count as failed).
    """
    skipped: list[Trial] = []
    known, compiled = twins(state.trials), code_twins(state.trials)
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
        if twin is not None:
            skipped.append(twin.model_copy(update={"point": proposal.point}))
            continue
        code = code_of(solution)
        judged = compiled.get(code) if code else None
        if judged is None:
            return Candidate(proposal, solution, code), tuple(skipped)
        skipped.append(_same_code(judged, proposal, solution))
        known[solution.content_hash] = skipped[-1]
    return None, tuple(skipped)


def _same_code(judged: Trial, proposal: Proposal, solution: Solution) -> Trial:
    return judged.model_copy(
        update={
            "point": proposal.point,
            "solution_hash": solution.content_hash,
            "twin_of": judged.solution_hash,
        }
    )
