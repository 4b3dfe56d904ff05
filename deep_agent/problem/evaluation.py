"""Owns what the judge is asked and what it finds; does not judge.

All ratios are time of the reference arm over time of the candidate: above 1 is faster.
"""

from typing import Annotated, Literal

from pydantic import Field

from deep_agent.problem.bound import SolScore
from deep_agent.problem.solution import Solution
from deep_agent.problem.trace import Correctness, EvaluationStatus
from deep_agent.problem.value import FrozenValue

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Ratio(FrozenValue):
    """A paired ratio of times with its 95 % bootstrap interval."""

    value: Positive
    low: Positive
    high: Positive
    n_rounds: Annotated[int, Field(ge=1)]

    @property
    def is_faster(self) -> bool:
        """Whether the whole interval lies above 1."""
        return self.low > 1.0


class ArmTiming(FrozenValue):
    """One arm's times in one workload."""

    time_us: Positive
    """Median wall time of a call on the judge's clock, less what an empty request costs (a tenth at most)."""
    cpu_us: Annotated[float, Field(ge=0)]
    """Median processor time of a call, summed over the arm's threads."""


class DeviceState(FrozenValue):
    """What a card did while its arms were timed; it is never told what to do."""

    sm_clock_mhz: Positive
    """Mean over samples, as for the memory's clock and the power."""
    sm_clock_low_mhz: Positive
    sm_clock_high_mhz: Positive
    memory_clock_mhz: Positive
    power_w: Annotated[float, Field(ge=0)]
    temperature_c: float
    """The highest."""
    throttled_by: tuple[str, ...] = ()
    """What held the clocks back at any sample, in words."""
    n_samples: Annotated[int, Field(ge=1)]


class SustainedTiming(FrozenValue):
    """Calls without a pause, over rotated buffers, the cache not emptied: the rate of a chip that is warm."""

    candidate_us: Positive
    """Time a call on the judge's clock, over at least `seconds`."""
    baseline_us: Positive
    seconds: Positive
    """How long each arm ran."""
    candidate_j: float | None = None
    """Energy a call, in joules; None where the card has no counter."""
    baseline_j: float | None = None


class WorkloadEvaluation(FrozenValue):
    """The judge's finding for one solution and one workload."""

    uuid: str
    status: EvaluationStatus
    message: str = ""
    correctness: Correctness | None = None
    candidate: ArmTiming | None = None
    """This and the following exist only when the workload passed and was timed."""
    baseline: ArmTiming | None = None
    baseline_name: str | None = None
    speedup: Ratio | None = None
    """Baseline over candidate."""
    gain: Ratio | None = None
    """Incumbent over candidate, when an incumbent was given."""
    noise: Ratio | None = None
    """Incumbent over its twin, or baseline over its own where there is no incumbent: what this machine calls a difference
    when there is none."""
    sustained: SustainedTiming | None = None
    """On a CUDA device, verified ones only. Times above are of short bursts, each call on an emptied cache."""
    device_state: DeviceState | None = None
    """Clocks and power over the bursts; None on a processor, or where they cannot be read."""
    score: SolScore | None = None


class Evaluation(FrozenValue):
    """The judge's finding for one solution over a problem's workloads."""

    problem: str
    solution_hash: str
    status: EvaluationStatus
    """PASSED only when every workload passed; else the first that failed."""
    message: str = ""
    profile: Literal["screen", "gate", "verify"]
    workloads: tuple[WorkloadEvaluation, ...]
    speedup: Ratio | None = None
    """Geometric mean over workloads of baseline over candidate."""
    gain: Ratio | None = None
    """Geometric mean over workloads of incumbent over candidate."""
    noise: Ratio | None = None
    """Geometric mean over workloads of the incumbent over its twin, or of the baseline over its own."""
    device: str
    hardware: str = ""
    """What a card's maker calls it; empty on a processor, and where nothing was run."""
    device_fingerprint: str
    """Hash of what makes two measurements comparable."""
    device_s: Annotated[float, Field(ge=0)]
    """Seconds the device was held."""
    timed_s: Annotated[float, Field(ge=0)] = 0.0
    """Seconds of these that went into timing; the rest is what a verdict costs whatever it times."""
    build_s: Annotated[float, Field(ge=0)]
    confinement: tuple[str, ...]
    """What confined the candidate, and what was missing on this machine, in words."""
    seed: str
    """The secret seed, published once the verdict stands."""
    quarantined: str = ""
    """Why its times are not believed, though its answers are right: no score, no promotion. Empty when they are."""
    load_average: float | None = None
    log: str = ""
    """Compiler diagnostics or the candidate's last words; data, never evidence."""

    @property
    def passed(self) -> bool:
        """Whether the solution is correct on every workload."""
        return self.status is EvaluationStatus.PASSED

    @property
    def is_faster(self) -> bool:
        """Whether it is faster than the baseline beyond doubt.

        The whole interval lies above 1 and above whatever an arm shows against its own twin.
        """
        least = 1.0 if self.noise is None else max(1.0, self.noise.high)
        return self.passed and not self.quarantined and self.speedup is not None and self.speedup.low > least


class Build(FrozenValue):
    """What a solution's sources became, before anything of it was run."""

    is_built: bool
    """False when they do not compile, or this machine or device lacks the toolchain."""
    machine_code_hash: str = ""
    """Fingerprint of the object without names and paths; empty for Python, which is not compiled ahead."""
    diagnostics: str = ""
    """Why there is no object."""
    build_s: Annotated[float, Field(ge=0)] = 0.0
    from_cache: bool = False


class EvaluationRequest(FrozenValue):
    """What to judge, and how thoroughly."""

    problem_dir: str
    solution: Solution
    device: str
    profile: Literal["screen", "gate", "verify"] = "gate"
    """screen: correctness and few rounds, stops early when clearly slower. gate: the full protocol.
    verify: a fresh judge process, unseen seeds and shapes, the full number of rounds."""
    incumbent: Solution | None = None
    """The champion to compare with in the same rounds."""
    deadline_s: float | None = None
    """Wall seconds after which timing stops with what it has; None for no limit."""


BaselineName = Literal["eager", "eager_out", "torch_compile", "torch_compile_max_autotune", "library"]
"""`library` is a call that whoever asks wrote by hand; the others are made from the reference."""


class BaselineChoice(FrozenValue):
    """Which baselines a characterisation tries."""

    names: tuple[BaselineName, ...] | None = None
    """Those made from the reference, in any order; None for what the device's judge tries by itself."""
    library: Solution | None = None
    """A library call tried beside them. It runs as trusted as they do, so it never comes from a candidate."""


class Baseline(FrozenValue):
    """One way the library offers to do the operation."""

    name: BaselineName
    solution: Solution | None = None
    """The library call as a solution that can be packaged; None where it cannot be written as one."""
    time_us: dict[str, Positive]
    """Workload uuid -> median wall time."""
    failure: str = ""
    """Why it could not run, when `time_us` is empty."""


class Characterization(FrozenValue):
    """What is known of a problem on a device before the search starts."""

    problem: str
    device: str
    baselines: tuple[Baseline, ...]
    best: dict[str, str]
    """Workload uuid -> name of its fastest baseline."""
    noise: Ratio
    """A/A: the best baseline against its twin, geometric mean over workloads."""
    device_s: float
