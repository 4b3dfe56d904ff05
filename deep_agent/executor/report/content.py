"""Owns what a report says, as frozen values; does not render and does not collect."""

from typing import Annotated, Literal

from pydantic import Field

from deep_agent.htdag.goal import Goal, Spend
from deep_agent.problem.bound import SolBound
from deep_agent.problem.device import DeviceModel
from deep_agent.problem.evaluation import Characterization, Evaluation
from deep_agent.problem.problem import Problem
from deep_agent.problem.solution import Solution
from deep_agent.problem.value import FrozenValue

Ending = Literal["faster", "no_faster", "unfinished", "failed"]
"""faster: verified and the whole interval above 1. no_faster: the library call is the answer.
unfinished: stopped before a verdict. failed: the problem itself or the judge broke."""


class SearchStep(FrozenValue):
    """One attempt of the search, in order."""

    number: Annotated[int, Field(ge=1)]
    outcome: Literal["improve", "match", "rejected", "failed", "nothing_left", "error"]
    version: int | None = None
    """The version this attempt was committed as; None when it was not."""
    speedup: Annotated[float, Field(gt=0)] | None = None
    """Best baseline over this candidate at the gate; None when it was not timed."""
    sol_score: Annotated[float, Field(ge=0, le=1)] | None = None
    status: str = ""
    """The judge's status; empty when the judge was not reached."""
    message: str = ""
    """What failed and why, in the judge's words."""
    note: str = ""
    """What was tried, such as the schedule."""


class ProblemContent(FrozenValue):
    """Everything the report says of one problem."""

    name: str
    """The definition's name; what the goal said where it could not be read."""
    problem: Problem | None
    """None when it could not be read or characterized."""
    ending: Ending
    ending_reason: str
    """One sentence: why the search stopped, or what broke."""
    characterization: Characterization | None = None
    bounds: tuple[SolBound, ...] = ()
    """In the order of the problem's workloads; may be empty when tracing failed."""
    notes: tuple[str, ...] = ()
    """What could not be done before the search, in sentences."""
    verification: Evaluation | None = None
    judged: Literal["answer", "refuted"] = "answer"
    """refuted: the verification is of a candidate that did not stand, so it says nothing of the answer."""
    answer: Solution | None = None
    """The winner, or the library call when nothing was faster."""
    first: Solution | None = None
    """The first version of the lineage, which the winner is compared with."""
    steps: tuple[SearchStep, ...] = ()
    spend: Spend = Spend()


class ReportContent(FrozenValue):
    """A whole report."""

    job: str
    goal: Goal
    device: DeviceModel | None
    """None when the device could not be resolved."""
    written_at: str
    """ISO 8601, UTC."""
    problems: tuple[ProblemContent, ...]
    spend: Spend
