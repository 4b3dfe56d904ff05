"""Owns what a profile is asked for and what it finds; does not measure. A profile explains, it never scores."""

from typing import Annotated, Literal

from pydantic import Field

from deep_agent.problem.bound import SolBound
from deep_agent.problem.device import DeviceModel
from deep_agent.problem.solution import Solution
from deep_agent.problem.trace import EvaluationStatus
from deep_agent.problem.value import FrozenValue

Bottleneck = Literal["memory", "compute", "latency", "occupancy", "scalar", "unknown"]
"""memory: near the bandwidth of a memory level. compute: near the arithmetic rate. occupancy: too few warps to
cover waiting. scalar: the arithmetic is not vectorised. latency: near no limit, so it waits for its own steps.
unknown: the figures that would tell are not to be had on this machine."""


class Figure(FrozenValue):
    """One number a profile rests on."""

    name: str
    value: Annotated[float, Field(allow_inf_nan=False)] | None
    """None where it was not counted."""
    unit: str
    """Such as `%`, `us`, `bytes`; empty for a plain count."""


class Profile(FrozenValue):
    """What holds a solution back on one workload, with the figures that say so."""

    kind: Literal["profile"] = "profile"
    workload: str
    """Uuid."""
    bottleneck: Bottleneck
    evidence: tuple[Figure, Figure, Figure]
    """The three figures that decided."""
    resources: tuple[Figure, ...] = ()
    """What the build takes: registers, spills, shared memory, stack, vector width."""
    counters: tuple[Figure, ...] = ()
    """Everything else that was counted."""
    notes: tuple[str, ...] = ()
    """What the compiler said, and what could not be counted here, in sentences."""


class NotProfiled(FrozenValue):
    """Why there is no profile: the solution does not build or run."""

    kind: Literal["not_profiled"] = "not_profiled"
    status: EvaluationStatus
    reason: str


ProfileAnswer = Annotated[Profile | NotProfiled, Field(discriminator="kind")]


class ProfileRequest(FrozenValue):
    """What to profile."""

    problem_dir: str
    solution: Solution
    device: DeviceModel
    workload: str | None = None
    """Uuid; None takes the problem's first."""
    bound: SolBound | None = None
    """The workload's bound: bytes and multiply-adds that cannot be avoided; None counts inputs and outputs once."""
