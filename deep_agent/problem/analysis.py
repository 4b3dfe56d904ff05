"""Owns what the analyst hands back about a problem in one go: its graph and its bounds."""

from pydantic import Field

from deep_agent.problem.bound import SolBound
from deep_agent.problem.breakdown import Breakdown
from deep_agent.problem.opgraph import OpGraph
from deep_agent.problem.value import FrozenValue


class Analysis(FrozenValue):
    """A problem's operation graph and the bound of every workload on one device."""

    graph: OpGraph | None
    """At the first workload; None when the reference looks at values and has no graph."""
    graph_missing: str = ""
    """Why there is no graph; empty when there is one."""
    bounds: tuple[SolBound, ...]
    """One a workload, in the problem's order; those in `failures` are left out."""
    breakdowns: tuple[Breakdown, ...] = ()
    """What each of `bounds` is made of."""
    failures: dict[str, str] = Field(default_factory=dict)
    """Uuid of a workload without a bound -> why; only where a survey went on past it."""
