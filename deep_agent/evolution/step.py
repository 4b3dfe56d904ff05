"""Owns what one finished `vary` hands to the next, and the search as rebuilt from all of them; pure."""

from collections.abc import Sequence

from deep_agent.evolution.gate import Champion
from deep_agent.evolution.operators.operator import SearchState, Trial
from deep_agent.evolution.space import Parameter, Point
from deep_agent.evolution.version import VersionRef
from deep_agent.problem.value import FrozenValue


class VaryStep(FrozenValue):
    """All that later steps of the search need of a finished one."""

    trials: tuple[Trial, ...] = ()
    """Points that turned out to lower to sources already tried, then the one that was judged, if any."""
    solution_blob: str = ""
    """Digest of the judged solution's JSON."""
    evaluation_blobs: tuple[str, ...] = ()
    """Digests of the judge's findings as JSON, diagnostics included: the screen's, then the gate's."""
    better_than_library: bool = False
    """Whether it is proved faster than the library; a champion need not be."""
    version: VersionRef | None = None
    """What it was committed as."""


class ChampionStep(FrozenValue):
    """The step that made the present champion."""

    champion: Champion
    sha: str
    """Its commit."""
    solution_blob: str
    fitness: float
    """Log fitness as confirmed at the gate."""


def search_state(parameters: tuple[Parameter, ...], seeds: tuple[Point, ...], steps: Sequence[VaryStep]) -> SearchState:
    """Rebuild what an operator may know, from finished steps, oldest first; the `tell` of ask and tell."""
    return SearchState(parameters, seeds, tuple(trial for step in steps for trial in step.trials))


def version_refs(steps: Sequence[VaryStep]) -> tuple[VersionRef, ...]:
    """Collect the versions of a search, oldest first."""
    return tuple(step.version for step in steps if step.version is not None)


def champion_of(steps: Sequence[VaryStep]) -> ChampionStep | None:
    """Find the champion: the last version that was not a match; None while there is none."""
    for step in reversed(steps):
        if step.version is not None and step.version.kind != "match":
            judged = step.trials[-1]
            assert judged.fitness is not None, "the gate lets no untimed candidate pass"
            return ChampionStep(
                champion=Champion(seq=step.version.seq, solution_hash=judged.solution_hash),
                sha=step.version.sha,
                solution_blob=step.solution_blob,
                fitness=judged.fitness,
            )
    return None


def code_twins(trials: Sequence[Trial]) -> dict[str, Trial]:
    """Index the judged trials by their machine code; those that were not compiled are left out."""
    found: dict[str, Trial] = {}
    for trial in trials:
        if trial.machine_code_hash and not trial.twin_of:
            found.setdefault(trial.machine_code_hash, trial)
    return found


def twins(trials: Sequence[Trial]) -> dict[str, Trial]:
    """Index trials by what they lowered to; the first of equals stands for all."""
    found: dict[str, Trial] = {}
    for trial in trials:
        found.setdefault(trial.solution_hash, trial)
    return found
