"""Owns what a user asks and what it may cost: Goal, Budget, Spend."""

from typing import Annotated, Literal

from pydantic import Field

from deep_agent.problem.value import FrozenValue

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Spend(FrozenValue):
    """What has been used; adds up over nodes."""

    wall_s: NonNegative = 0.0
    device_s: NonNegative = 0.0
    evaluations: Annotated[int, Field(ge=0)] = 0
    tokens: Annotated[int, Field(ge=0)] = 0
    usd: NonNegative = 0.0

    def __add__(self, other: "Spend") -> "Spend":
        """Sum two spends, field by field."""
        return Spend(
            wall_s=self.wall_s + other.wall_s,
            device_s=self.device_s + other.device_s,
            evaluations=self.evaluations + other.evaluations,
            tokens=self.tokens + other.tokens,
            usd=self.usd + other.usd,
        )


class Budget(FrozenValue):
    """What may be used; None is no limit."""

    wall_s: Annotated[float, Field(gt=0)] = 120.0
    """Wall seconds for the whole goal, from acceptance to the report."""
    evaluations: Annotated[int, Field(gt=0)] | None = None
    """Evaluations of one problem's search."""
    tokens: Annotated[int, Field(ge=0)] | None = None
    usd: NonNegative | None = None


class StopRule(FrozenValue):
    """When to stop before the budget is gone."""

    stall_evaluations: Annotated[int, Field(gt=0)] = 24
    """Evaluations of one search without a new champion."""
    sol_score: Annotated[float, Field(gt=0, le=1)] | None = None
    """Stop once the champion's SOL Score reaches this."""


class Goal(FrozenValue):
    """What a user asks for."""

    problems: Annotated[tuple[str, ...], Field(min_length=1, max_length=64)]
    """Problem directories, absolute, or names of stored problems; no two the same."""
    device: str = "auto"
    budget: Budget = Budget()
    stop: StopRule = StopRule()
    operator: Literal["auto", "schedule", "random"] = "auto"
    """Variation operator; `random` is the benchmark's control."""
    seed: int = 0
    """Seeds the search's own chance; never the judge's."""
    webhook: str | None = None
    """Where to POST events of this job; None for nowhere."""
    model: str | None = None
    """Language model of the agent operator; none is needed for the schedule operator."""
