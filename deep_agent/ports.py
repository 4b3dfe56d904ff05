"""Owns every Protocol between a capability and the world; adapters implement them, bootstrap wires them.

Every method is synchronous and may be called from several threads unless its docstring says otherwise.
"""

from typing import Protocol

from deep_agent.htdag.search import SearchDecision, SearchHistory
from deep_agent.problem.bound import SolBound
from deep_agent.problem.device import DeviceModel
from deep_agent.problem.evaluation import Characterization, Evaluation, EvaluationRequest
from deep_agent.problem.opgraph import OpGraph
from deep_agent.problem.problem import Problem


class Clock(Protocol):
    """Time, so that deciding code needs no clock of its own."""

    def now_s(self) -> float:
        """Seconds since the epoch; never used for durations of a measurement."""
        ...

    def sleep(self, duration_s: float) -> None:
        """Block the calling thread."""
        ...


class Judge(Protocol):
    """Builds, runs, checks and times solutions it does not trust.

    A bad candidate is an `Evaluation`; a broken judge raises `HarnessFailed`. Timing is exclusive:
    calls queue for the device, builds do not.
    """

    def characterize(self, problem_dir: str, device: str) -> Characterization:
        """Time the library's ways of doing the operation, and the noise of this machine.

        Raises:
            InvalidInput: the reference raises, returns NaN, or a workload does not fit in memory.
            MissingTool: torch or a compiler is absent.
            HarnessFailed: the judge broke.
        """
        ...

    def evaluate(self, request: EvaluationRequest) -> Evaluation:
        """Build, check and time one solution; raises as `characterize`."""
        ...

    def close(self) -> None:
        """End the judge's processes; idempotent."""
        ...


class Analyst(Protocol):
    """Traces references and computes bounds, in a process of its own that loads torch."""

    def graph(self, problem: Problem) -> OpGraph:
        """Trace the reference at its first workload, symbolically where possible.

        Raises:
            InvalidInput: the reference raises at a declared shape.
            HarnessFailed: the tracing process broke.
        """
        ...

    def bounds(self, problem: Problem, device: DeviceModel) -> tuple[SolBound, ...]:
        """Compute the bound of every workload, in order; raises as `graph`."""
        ...


class DeviceCatalog(Protocol):
    """Device models by name."""

    def resolve(self, name: str) -> DeviceModel:
        """Give the model of `cpu`, `cpu:N` or `auto`, probing this machine once and caching the result.

        Raises:
            InvalidInput: unknown device; the message lists the known ones.
        """
        ...


class SearchPolicy(Protocol):
    """Decides, purely, whether a search goes on; lent by evolution to the planner's `evolve` method."""

    def __call__(self, history: SearchHistory) -> SearchDecision:
        """Answer `vary` or `end`; equal histories give equal answers."""
        ...


class Blobs(Protocol):
    """Immutable bytes by content hash."""

    def put(self, content: bytes) -> str:
        """Store and return the SHA-256 in hex; storing twice is free. Raises ResourceExhausted on a full disk."""
        ...

    def get(self, digest: str) -> bytes:
        """Read back; raises NotFound."""
        ...
