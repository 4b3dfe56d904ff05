"""Owns the Trace: the published record of one evaluation of one workload."""

from enum import StrEnum
from math import isfinite
from typing import Annotated, Self

from pydantic import Field, JsonValue, field_validator, model_validator

from deep_agent.problem.definition import NonEmptyStr
from deep_agent.problem.value import PublicRecord
from deep_agent.problem.workload import Workload


class EvaluationStatus(StrEnum):
    """The closed set of what the judge can find about a candidate."""

    PASSED = "PASSED"
    INVALID_REFERENCE = "INVALID_REFERENCE"
    INCORRECT_SHAPE = "INCORRECT_SHAPE"
    INCORRECT_NUMERICAL = "INCORRECT_NUMERICAL"
    INCORRECT_DTYPE = "INCORRECT_DTYPE"
    RUNTIME_ERROR = "RUNTIME_ERROR"
    COMPILE_ERROR = "COMPILE_ERROR"
    TIMEOUT = "TIMEOUT"
    REWARD_HACK = "REWARD_HACK"


class Environment(PublicRecord):
    """Where a trace was made."""

    hardware: NonEmptyStr
    libs: dict[str, str] = Field(default_factory=dict)


class Correctness(PublicRecord):
    """How far outputs were from the reference's; 0.0 where an error is not finite."""

    max_relative_error: Annotated[float, Field(ge=0)] = 0.0
    max_absolute_error: Annotated[float, Field(ge=0)] = 0.0
    has_nan: bool = False
    has_inf: bool = False
    extra: dict[str, JsonValue] | None = None
    """What the public format has no field for; any other unknown key would be lost upstream."""

    @field_validator("max_relative_error", "max_absolute_error", mode="before")
    @classmethod
    def _finite(cls, error: object) -> object:
        return 0.0 if isinstance(error, float) and not isfinite(error) else error


class Performance(PublicRecord):
    """Median times in milliseconds, as the public format has them."""

    latency_ms: Annotated[float, Field(ge=0)] = 0.0
    reference_latency_ms: Annotated[float, Field(ge=0)] = 0.0
    speedup_factor: Annotated[float, Field(ge=0)] = 0.0


class TraceEvaluation(PublicRecord):
    """The evaluation part of a trace; the status decides which parts exist."""

    status: EvaluationStatus
    environment: Environment
    timestamp: str
    """ISO 8601, local and naive, as upstream."""
    log: str = ""
    correctness: Correctness | None = None
    performance: Performance | None = None

    @model_validator(mode="after")
    def _parts_follow_status(self) -> Self:
        wants_correctness = self.status in {EvaluationStatus.PASSED, EvaluationStatus.INCORRECT_NUMERICAL}
        wants_performance = self.status is EvaluationStatus.PASSED
        if (self.correctness is not None) != wants_correctness:
            raise ValueError(f"evaluation.correctness: does not go with status {self.status}")
        if (self.performance is not None) != wants_performance:
            raise ValueError(f"evaluation.performance: does not go with status {self.status}")
        return self


class Trace(PublicRecord):
    """One line of a trace file; without solution and evaluation it is a workload alone."""

    definition: NonEmptyStr
    workload: Workload
    solution: str | None = None
    """Name of the solution, as upstream writes it."""
    evaluation: TraceEvaluation | None = None
