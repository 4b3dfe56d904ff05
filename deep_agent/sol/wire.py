"""Owns what the analyst and its program say to each other: one JSON request, one JSON reply."""

from typing import Annotated, Literal

from pydantic import Field

from deep_agent.problem.analysis import Analysis
from deep_agent.problem.device import DeviceModel
from deep_agent.problem.problem import Problem
from deep_agent.problem.value import FrozenValue


class AnalysisRequest(FrozenValue):
    """What to analyse, and how much memory that may take."""

    problem: Problem
    device: DeviceModel | None = None
    """Bounds are computed for it; None asks for no bounds."""
    want_graph: bool = True
    keep_going: bool = False
    """Go on past a workload that has no bound, and say why it has none."""
    memory_limit_bytes: Annotated[int, Field(gt=0)]


class Analysed(FrozenValue):
    """The reference was traced."""

    kind: Literal["analysed"] = "analysed"
    analysis: Analysis


class Refused(FrozenValue):
    """The caller can correct the problem."""

    kind: Literal["refused"] = "refused"
    message: str
    remedy: str


class Reply(FrozenValue):
    """The program's one answer."""

    answer: Annotated[Analysed | Refused, Field(discriminator="kind")]
