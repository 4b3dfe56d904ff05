"""Owns what every variation operator sees and answers; does not evaluate, lower or store anything.

The shape is ask and tell: the caller builds a `SearchState` from the finished trials (tell), the operator
proposes the next point (ask), and nothing is kept between the two, so any process can make the next step.
"""

from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Annotated, Literal, Protocol

from pydantic import Field

from deep_agent.evolution.space import Choice, Indices, Parameter, Point, indices_of, point_fingerprint, space_size
from deep_agent.problem.value import FrozenValue

TrialOutcome = Literal["improve", "match", "rejected", "failed"]


class Trial(FrozenValue):
    """One point that was tried, and what came of it."""

    point: dict[str, Choice]
    outcome: TrialOutcome
    """failed: it did not build or was incorrect, so it has no fitness."""
    fitness: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """Natural logarithm of the library's time over the candidate's; higher is better."""
    solution_hash: str = ""
    """What the point lowered to; two points with one hash are one candidate."""
    machine_code_hash: str = ""
    """What that was compiled to; empty where nothing was. Two sources with one hash are one candidate too."""
    twin_of: str = ""
    """Hash of the judged solution whose machine code and therefore whose result this is; empty for a judged one."""

    @property
    def fingerprint(self) -> str:
        """The point's hash."""
        return point_fingerprint(self.point)


@dataclass(frozen=True)
class SearchState:
    """All a variation operator knows; equal states and equal chance give equal proposals."""

    parameters: tuple[Parameter, ...]
    """The space; a search without one (an agent edits source) has none."""
    seeds: tuple[Point, ...] = ()
    """Points to try before all others, best guess first."""
    trials: tuple[Trial, ...] = ()
    """Everything tried, oldest first, failures and points that lowered to a known source among them."""

    @cached_property
    def tried(self) -> frozenset[Indices]:
        """Points that must not be proposed again; trials of another space do not count."""
        return frozenset(indices for indices, _ in self.placed)

    @cached_property
    def placed(self) -> tuple[tuple[Indices, Trial], ...]:
        """The trials that lie in this space, with their positions."""
        located = ((indices_of(self.parameters, trial.point), trial) for trial in self.trials)
        return tuple((indices, trial) for indices, trial in located if indices is not None)

    @property
    def is_exhausted(self) -> bool:
        """Whether every point of the space has been tried."""
        return len(self.tried) >= space_size(self.parameters)

    def next_seed(self) -> "Proposal | None":
        """The first seed that was not tried; seeds outside the space are passed over."""
        for seed in self.seeds:
            indices = indices_of(self.parameters, seed)
            if indices is not None and indices not in self.tried:
                return Proposal(point=dict(seed), origin="seed")
        return None


class Proposal(FrozenValue):
    """A point worth trying."""

    point: dict[str, Choice]
    origin: Literal["seed", "mutation", "crossover", "restart"]
    """How it was made."""
    expected_fitness: float | None = None
    """What the operator's model of the space expects; None where it has none."""


class VariationOperator(Protocol):
    """Makes the next candidate of a search.

    An operator that searches a space of points (schedule, random) implements `propose` and nothing else.
    The agent operator has to provide the same method: it reads champion, failures and their reasons from the
    state's trials, and answers with a proposal that carries a whole Solution in place of a point; for that,
    `Proposal` gets a second variant, and `vary` skips the lowering for it. Everything that follows (novelty
    check by content hash, judge, gate, lineage) is already the same for both.
    """

    def propose(self, state: SearchState, rng: Random) -> Proposal | None:
        """Propose a point that was not tried, or None when none is left.

        Pure: no clock, no file, no chance but `rng`. A proposal never equals a tried point.
        """
        ...
