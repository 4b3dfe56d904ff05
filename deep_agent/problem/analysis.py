"""Owns what the analyst hands back about a problem in one go: its graph and its bounds."""

from deep_agent.problem.bound import SolBound
from deep_agent.problem.opgraph import OpGraph
from deep_agent.problem.value import FrozenValue


class Analysis(FrozenValue):
    """A problem's operation graph and the bound of every workload on one device."""

    graph: OpGraph | None
    """At the first workload; None when the reference looks at values and has no graph."""
    graph_missing: str = ""
    """Why there is no graph; empty when there is one."""
    bounds: tuple[SolBound, ...]
    """One a workload, in the problem's order."""
