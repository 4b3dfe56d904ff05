"""Owns the times that rounds collect. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

from deep_agent.harness.arms.arm import CallTiming
from deep_agent.harness.timing.statistics import MIN_RESOLUTION, log_ratios, ratio
from deep_agent.problem.evaluation import ArmTiming, DeviceState, Ratio, SustainedTiming


@dataclass(slots=True)
class Samples:
    """Visits of each arm, one a round, all of the same length."""

    visits: dict[str, list[CallTiming]] = field(default_factory=dict)
    resolution: float = MIN_RESOLUTION
    """Log ratio that two processes with the same code may differ by."""
    device_state: DeviceState | None = None
    """What a card's clocks and power were meanwhile."""
    sustained: SustainedTiming | None = None
    """Calls without a pause, where a protocol asks for them."""

    @classmethod
    def of(cls, arms: Iterable[str], resolution: float = MIN_RESOLUTION) -> "Samples":
        """Start with no rounds."""
        return cls({name: [] for name in arms}, resolution)

    def add(self, arm: str, timing: CallTiming) -> None:
        """Take one visit."""
        self.visits[arm].append(timing)

    def wall_us(self, arm: str) -> list[float]:
        """What a call took, by round."""
        return [visit.wall_us for visit in self.visits[arm]]

    def timing(self, arm: str) -> ArmTiming:
        """Median visit of an arm."""
        return ArmTiming(time_us=median(self.wall_us(arm)), cpu_us=median(visit.cpu_us for visit in self.visits[arm]))

    def ratio(self, reference: str, candidate: str) -> Ratio:
        """Ratio of two arms: above 1 the candidate is faster."""
        return ratio([log_ratios(self.wall_us(reference), self.wall_us(candidate))], resolution=self.resolution)
