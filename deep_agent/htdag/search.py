"""Owns what a search has done so far and what should follow, as the `evolve` method and its policy see it."""

from typing import Annotated, Literal

from pydantic import Field

from deep_agent.htdag.goal import Spend
from deep_agent.problem.value import FrozenValue


class VaryRecord(FrozenValue):
    """One finished `vary` node, oldest first in a history."""

    outcome: Literal["improve", "match", "rejected", "failed", "nothing_left", "error"]
    """improve moved the champion; match and rejected were correct but no faster; failed was incorrect or
    did not build; nothing_left: the operator has no further candidate; error is infrastructure and neutral."""
    fingerprint: str
    """Hash of the candidate; equal ones show a cycle."""
    sol_score: Annotated[float, Field(ge=0, le=1)] | None = None
    """The champion's score after this step."""
    spend: Spend = Spend()


class SearchHistory(FrozenValue):
    """What the policy may know."""

    records: tuple[VaryRecord, ...]
    elapsed_s: Annotated[float, Field(ge=0)]
    """Wall seconds since the search was opened."""
    remaining_s: float
    """Wall seconds this search may still use, its share of the goal's budget less what must follow it."""
    max_evaluations: int | None
    stall_evaluations: int
    target_sol_score: float | None


class SearchDecision(FrozenValue):
    """What follows."""

    verb: Literal["vary", "end"]
    reason: str
    """One sentence for the report, such as `no better kernel in the last 24 evaluations`."""
