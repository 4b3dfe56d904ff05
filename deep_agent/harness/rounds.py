"""Times arms in interleaved, randomised rounds. Loads torch through the stage; reads no clock itself.

A round visits every arm once, in random order, on the same stage. Looking early inflates false wins, so a
protocol fixes in advance when it looks, and a clear loser is let go only far from the line.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from random import Random
from statistics import median
from typing import Final

from deep_agent.errors import HarnessFailed
from deep_agent.harness.arm import ArmFailed, CallTiming
from deep_agent.harness.compare import Comparison
from deep_agent.harness.stage import CALL_TIMEOUT_S, CacheFlush, Desk, Stage, refusal
from deep_agent.harness.statistics import is_hopeless, is_precise, log_ratios, ratio
from deep_agent.harness.wire import Verb
from deep_agent.problem.evaluation import ArmTiming, Ratio
from deep_agent.problem.trace import EvaluationStatus

SHORT_CALL_US: Final = 300.0
"""Calls shorter than this are timed several times a visit, and the visit counts their median."""
CALLS_PER_SHORT_VISIT: Final = 9
HOPELESS_BELOW: Final = 0.97
REQUEST_SHARE: Final = 0.1
"""At most this share of a call's time is taken off for what a request costs by itself."""
_REQUESTS_TIMED: Final = 9


@dataclass(frozen=True, slots=True)
class Protocol:
    """How long to measure one workload."""

    looks: tuple[int, ...]
    """Numbers of rounds after which to stop if precise or hopeless; the last is the most."""
    checked_share: float
    """Share of the candidate's timed calls whose outputs are checked in full; at least one is."""
    precise_at: float
    """Half-width of the log interval that is good enough."""
    with_twin: bool
    """Whether the baseline's twin takes part, to show the noise."""


PROTOCOLS: Final[Mapping[str, Protocol]] = {
    "screen": Protocol(looks=(5,), checked_share=0.2, precise_at=0.02, with_twin=False),
    "gate": Protocol(looks=(8, 14), checked_share=0.2, precise_at=0.004, with_twin=True),
    "verify": Protocol(looks=(16, 30), checked_share=0.3, precise_at=0.03, with_twin=True),
}


@dataclass(slots=True)
class Samples:
    """Times of each arm, a visit a round, all of the same length."""

    wall_us: dict[str, list[float]]
    cpu_us: dict[str, list[float]]
    others_us: dict[str, list[float]]
    """The part of it that other threads than the calling one used."""
    idle_us: dict[str, list[float]]
    """Processor time an arm used when nothing was asked of it, before each visit."""

    @classmethod
    def of(cls, arms: Iterable[str]) -> "Samples":
        """Start with no rounds."""
        names = tuple(arms)

        def empty() -> dict[str, list[float]]:
            return {name: [] for name in names}

        return cls(wall_us=empty(), cpu_us=empty(), others_us=empty(), idle_us=empty())

    def add(self, arm: str, timing: CallTiming) -> None:
        """Take one visit."""
        self.wall_us[arm].append(timing.wall_us)
        self.cpu_us[arm].append(timing.cpu_us)
        self.others_us[arm].append(timing.others_us)
        self.idle_us[arm].append(timing.idle_us)

    def timing(self, arm: str) -> ArmTiming:
        """Median visit of an arm."""
        return ArmTiming(time_us=median(self.wall_us[arm]), cpu_us=median(self.cpu_us[arm]))

    def ratio(self, reference: str, candidate: str) -> Ratio:
        """Ratio of two arms: above 1 the candidate is faster."""
        return ratio([log_ratios(self.wall_us[reference], self.wall_us[candidate])])


@contextmanager
def blaming(arm: str) -> Iterator[None]:
    """Let the candidate's failures through as they are; any other arm's are the judge's, as HarnessFailed."""
    try:
        yield
    except ArmFailed as failure:
        if arm == "candidate":
            raise
        raise HarnessFailed(f"the {arm}'s arm broke: {failure.reason}") from failure


@dataclass(frozen=True, slots=True)
class Rounds:
    """Everything a measurement of one workload needs."""

    stage: Stage
    desks: Mapping[str, Desk]
    """Arm name -> desk; `candidate` is the one under judgement, the others are trusted to be right."""
    flush: CacheFlush
    chance: Random
    out_of_time: Callable[[], bool]

    def warm(self) -> None:
        """Call every arm a few times, unmeasured, and on every input set: whoever keeps answers keeps one of each.

        So no timed call meets contents for the first time, and any that is checked shows a kept answer.

        Raises:
            ArmFailed: the candidate's arm failed.
            HarnessFailed: another did.
        """
        for name, desk in self.desks.items():
            with blaming(name):
                for turn in range(max(desk.n_warm_calls, self.stage.n_sets)):
                    self.stage.call(desk, None, index=turn % self.stage.n_sets)

    def request_us(self) -> float:
        """Time what asking and answering costs, on the baseline's arm: a candidate has no say in it.

        Waking a sleeping process takes tenths of a millisecond on some machines, which is no part of a kernel.
        """
        arm = self.desks["baseline"].arm
        costs = []
        for _ in range(_REQUESTS_TIMED):
            self.flush()
            with blaming("baseline"):
                costs.append(arm.ask(Verb.NOTHING, {}, timeout_s=CALL_TIMEOUT_S).wall_us)
        return median(costs)

    def measure(self, protocol: Protocol, against: Sequence[str]) -> tuple[Samples, Comparison | None]:
        """Measure until the protocol is content.

        Args:
            protocol: how long.
            against: the arms the candidate must beat; hopeless only if it loses to the last of them.

        Returns:
            Samples, and the first wrong result of the candidate, if any.

        Raises:
            HarnessFailed: an arm other than the candidate's failed.
        """
        samples = Samples.of(self.desks)
        request_us = self.request_us()
        checks_due = {self.chance.randrange(protocol.looks[0])}
        for n_round in range(protocol.looks[-1]):
            wrong = self._round(
                samples, request_us, check=n_round in checks_due or self.chance.random() < protocol.checked_share
            )
            if wrong is not None:
                return samples, wrong
            done = n_round + 1
            if done in protocol.looks and self._enough(samples, protocol, against):
                break
            if done >= protocol.looks[0] // 2 and self.out_of_time():
                break
        return samples, None

    def _enough(self, samples: Samples, protocol: Protocol, against: Sequence[str]) -> bool:
        if not against:
            return False
        found = samples.ratio(against[-1], "candidate")
        return is_hopeless(found, floor=HOPELESS_BELOW) or is_precise(found, half_width=protocol.precise_at)

    def _round(self, samples: Samples, request_us: float, *, check: bool) -> Comparison | None:
        order = list(self.desks)
        self.chance.shuffle(order)
        for name in order:
            desk = self.desks[name]
            try:
                with blaming(name):
                    timing, wrong = self._visit(desk, check=check and name == "candidate")
            except ArmFailed as failure:
                return refusal(failure)
            if wrong is not None:
                return wrong
            taken_off_us = min(request_us, REQUEST_SHARE * timing.wall_us)
            samples.add(name, replace(timing, wall_us=timing.wall_us - taken_off_us))
        return None

    def _visit(self, desk: Desk, *, check: bool) -> tuple[CallTiming, Comparison | None]:
        """Call once; more often when the call is short. The last call is the one that is checked."""
        timing, chosen = self.stage.call(desk, self.flush)
        if timing.wall_us < SHORT_CALL_US:
            timings = [timing]
            for _ in range(CALLS_PER_SHORT_VISIT - 1):
                timing, chosen = self.stage.call(desk, self.flush)
                timings.append(timing)
            timing = CallTiming(*(median(column) for column in zip(*map(astuple, timings), strict=True)))
        found = self.stage.check(desk, chosen, quick=True) if check else None
        return timing, found if found is not None and found.status is not EvaluationStatus.PASSED else None
