"""Visits arms to time them: one call at a time on the processor. Reads clocks through the arm.

What a request costs by itself is measured on the baseline's arm, where a candidate has no say, and taken off.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from random import Random
from statistics import mean, median
from typing import Final, Protocol

from deep_agent.harness.answers.compare import Comparison
from deep_agent.harness.answers.stage import CALL_TIMEOUT_S, CacheFlush, Change, Desk, Stage
from deep_agent.harness.arms.arm import CallTiming
from deep_agent.harness.sandbox.wire import Verb
from deep_agent.harness.timing.samples import Samples
from deep_agent.harness.timing.statistics import MIN_RESOLUTION
from deep_agent.problem.trace import Correctness, EvaluationStatus

SHORT_CALL_US: Final = 300.0
"""Calls shorter than this are timed several times a visit, and the visit counts their median."""
CALLS_PER_SHORT_VISIT: Final = 9
REQUEST_SHARE: Final = 0.1
"""At most this share of a call's time is taken off for what a request costs by itself."""
_REQUESTS_TIMED: Final = 9
_COPY_FACTOR: Final = 2.0
_COPY_ROUNDING_US: Final = 50.0
_CPU_SLACK: Final = 1.3
"""Processor time over wall time that a call may show beyond its threads, for the kernel's rounding."""
_OTHERS_SHARE: Final = 0.25
"""Share of a one-thread device's work that may be done by other threads than the calling one."""
_OTHERS_ROUNDING_US: Final = 100.0
_ROUNDING_US: Final = 100.0
"""Processor time a visit may show beyond the shares: for sending the answer, and for the kernel's rounding."""
_TEAM_ROUNDING_US: Final = 1000.0
"""The same on a device of several threads, where a team waits for more work before it sleeps."""
_CHILDREN_ROUNDING_US: Final = 30_000.0
"""Ended children's time is told in hundredths of a second."""
_IDLE_SHARE: Final = 0.25
"""Processor time an arm may use between two visits, as a share of what a visit usually takes."""
_HALT_US: Final = 3000.0
"""A machine that halts just after an answer charges the arm for it: about a millisecond in one of 580 pauses of honest
candidates. So much more is borne in one visit where there are enough, and in one of ten."""
_VISITS_FOR_A_HALT: Final = 5
"""From here on a figure leaves the fastest visit out, so that one answered early gains nothing by its own time."""


@dataclass(frozen=True, slots=True)
class Overhead:
    """What a visit costs beside the calls, measured on a trusted arm."""

    visit_us: float
    """Once a visit: asking, answering, and the device's change from one process to another."""
    call_us: float = 0.0
    """With every call: emptying the cache, where the arm does that."""
    result_us: float = 0.0
    """With every input set: reading its results at the end, where the arm does that."""


class Timer(Protocol):
    """How arms of one device are timed. Used by the thread that holds the device."""

    @property
    def resolution(self) -> float:
        """Log ratio that two arms with the same code may differ by all the time."""

    @property
    def news_factor(self) -> float:
        """Whoever is so many times slower on inputs that are new as a whole works from what it has kept."""

    def overhead(self, desk: Desk) -> Overhead:
        """Time what a visit costs beside the calls, on a trusted arm's desk; raises ArmFailed."""

    def visit(
        self, stage: Stage, desk: Desk, overhead: Overhead, *, check: bool
    ) -> tuple[CallTiming, Comparison | None]:
        """Call an arm; what a call took, and the refusal if results were checked and are wrong. Raises ArmFailed."""

    def look(self, stage: Stage, desk: Desk, overhead: Overhead, *, change: Change) -> tuple[float, int]:
        """Time calls each of which follows a change of its inputs: us a call, and the input set of one of them. Raises ArmFailed."""

    def conclude(
        self, samples: Samples, stage: Stage, desks: Mapping[str, Desk], overhead: Overhead
    ) -> tuple[Samples, Comparison | None]:
        """Give the samples that figures are made of, and refuse a candidate that hid work from the clock.

        Raises:
            ArmFailed: the candidate's arm failed.
            HarnessFailed: another did.
        """

    def sustain(
        self, samples: Samples, stage: Stage, desks: Mapping[str, Desk], overhead: Overhead, seconds: float
    ) -> Comparison | None:
        """Add what calls without a pause take, over `seconds` of each arm; refuse a candidate whose result is wrong after them.

        Raises:
            ArmFailed: the candidate's arm failed.
            HarnessFailed: another did.
        """


def refused_as_hack(reason: str) -> Comparison:
    """Word a refusal of the way a candidate worked."""
    return Comparison(EvaluationStatus.REWARD_HACK, Correctness(), reason)


class CallTimer:
    """Times single calls on the processor, with a cold cache, by the judge's wall clock."""

    resolution = MIN_RESOLUTION
    news_factor = 1.3

    def __init__(self, flush: CacheFlush, n_threads: int, chance: Random) -> None:
        """Keep the flush, how many threads the device has, and the chance that says which call is looked at."""
        self._flush = flush
        self._n_threads = n_threads
        self._chance = chance

    @property
    def flush(self) -> CacheFlush:
        """What empties the cache before a call."""
        return self._flush

    def overhead(self, desk: Desk) -> Overhead:
        """Time an empty request: waking a sleeping process takes tenths of a millisecond on some machines."""
        costs = []
        for _ in range(_REQUESTS_TIMED):
            self._flush()
            costs.append(desk.arm.ask(Verb.NOTHING, {}, timeout_s=CALL_TIMEOUT_S).wall_us)
        return Overhead(median(costs))

    def visit(
        self, stage: Stage, desk: Desk, overhead: Overhead, *, check: bool
    ) -> tuple[CallTiming, Comparison | None]:
        """Call once; more often when the call is short.

        Of the calls of a short visit any may be the one that is checked, and one of a confined arm always is: their median
        counts, and whoever left most of them out would seem quick.
        """
        timing, chosen = stage.call(desk, self._flush)
        timings = [timing]
        n_calls = CALLS_PER_SHORT_VISIT if timing.wall_us < SHORT_CALL_US else 1
        check = check or (n_calls > 1 and bool(desk.arm.confinement))
        looked_at = self._chance.randrange(n_calls)
        found: Comparison | None = None
        for place in range(n_calls):
            if place:
                timing, chosen = stage.call(desk, self._flush)
                timings.append(timing)
            if place == looked_at:
                found = self._looked_at(stage, desk, chosen, check=check)
        timing = replace(_of_visit(timings), copy_us=desk.copy_us if desk.collects else 0.0)
        taken_off_us = min(overhead.visit_us, REQUEST_SHARE * timing.wall_us)
        timing = replace(timing, wall_us=timing.wall_us - taken_off_us)
        return timing, found if found is not None and not found.matches else None

    def _looked_at(self, stage: Stage, desk: Desk, chosen: int, *, check: bool) -> Comparison | None:
        """Check what a call left, or have at least copied out what it returned: that may take time as well."""
        if check:
            return stage.check(desk, chosen, quick=True)
        if desk.collects:
            stage.copy_out(desk, chosen)
        return None

    def look(self, stage: Stage, desk: Desk, overhead: Overhead, *, change: Change) -> tuple[float, int]:
        """Time one call."""
        timing, chosen = stage.call(desk, self._flush, change=change)
        return timing.wall_us - min(overhead.visit_us, REQUEST_SHARE * timing.wall_us), chosen

    def conclude(
        self, samples: Samples, stage: Stage, desks: Mapping[str, Desk], overhead: Overhead
    ) -> tuple[Samples, Comparison | None]:
        """Compare the clock with the kernel's account of processor time, what came after the last answer with the rest.

        Copying out what was returned is no part of a call. But who works on there pays for it: what it takes beyond twice
        of what the library's results take, or the judge's own copy of them, is added to each of the arm's times.
        """
        del overhead
        after_us = desks["candidate"].arm.ask(Verb.NOTHING, {}, timeout_s=CALL_TIMEOUT_S).idle_us
        refused = self._audit_threads(samples) or self._audit_pauses(samples, after_us)
        for name, desk in desks.items():
            if desk.collects and desk.arm.confinement:
                self._charge(samples, name, self._copying_us(samples, stage, desks))
        return samples, refused

    def sustain(
        self, samples: Samples, stage: Stage, desks: Mapping[str, Desk], overhead: Overhead, seconds: float
    ) -> Comparison | None:
        """Nothing: a processor's visits follow each other closely as it is."""

    def _copying_us(self, samples: Samples, stage: Stage, desks: Mapping[str, Desk]) -> float:
        """Give what copying results takes: of the library's arms, where they return theirs, else of this process."""
        trusted = [name for name, desk in desks.items() if desk.collects and not desk.arm.confinement]
        if trusted:
            return max(median(one.copy_us for one in samples.visits[name]) for name in trusted)
        return stage.own_copy_us(next(iter(desks.values())))

    def _charge(self, samples: Samples, name: str, copy_us: float) -> None:
        visits = samples.visits[name]
        beyond_us = median(one.copy_us for one in visits) - _COPY_FACTOR * copy_us - _COPY_ROUNDING_US
        if beyond_us > 0:
            charged_us = beyond_us / self._n_threads
            samples.visits[name] = [replace(one, wall_us=one.wall_us + charged_us) for one in visits]

    def _audit_threads(self, samples: Samples) -> Comparison | None:
        """Refuse the work of more threads than the device has."""
        visits = samples.visits["candidate"]
        wall_us, cpu_us = sum(one.wall_us for one in visits), sum(one.cpu_us for one in visits)
        others_us = sum(one.others_us for one in visits)
        n_threads, n_visits = self._n_threads, len(visits)
        if n_threads == 1 and others_us > _OTHERS_SHARE * cpu_us + _OTHERS_ROUNDING_US * n_visits:
            return refused_as_hack(
                f"other threads worked {others_us / 1e3:.1f} ms, all calls {cpu_us / 1e3:.1f} ms; "
                "this device has one thread"
            )
        if cpu_us > n_threads * _CPU_SLACK * wall_us:
            # The account of single threads may lag behind that of the whole process, so this finds them too.
            return refused_as_hack(
                f"other threads worked: it used {cpu_us / wall_us:.1f} processors where the device has {n_threads}"
            )
        return None

    def _audit_pauses(self, samples: Samples, after_us: float) -> Comparison | None:
        """Refuse work between calls, of which the wall clock sees nothing.

        Each pause is held against the usual visit. A sum over all would let some visits be answered early for the sake
        of those that are not.
        """
        visits = samples.visits["candidate"]
        cpu_us = median(one.cpu_us for one in visits)
        rounding_us = _ROUNDING_US if self._n_threads == 1 else _TEAM_ROUNDING_US
        allowed_us = _IDLE_SHARE * cpu_us + rounding_us
        pauses_us = [*(one.idle_us for one in visits), after_us]
        worked_us = [idle for idle in pauses_us if idle > allowed_us]
        n_borne = max(len(visits) // 10, int(len(visits) >= _VISITS_FOR_A_HALT))
        if len(worked_us) > n_borne or max(worked_us, default=0.0) > allowed_us + _HALT_US:
            return refused_as_hack(
                f"it worked in {len(worked_us)} of {len(pauses_us)} pauses between calls, up to {max(worked_us) / 1e3:.1f} ms, "
                f"against {cpu_us / 1e3:.1f} ms in a call"
            )
        return None


def _of_visit(timings: Sequence[CallTiming]) -> CallTiming:
    """Make one of a visit's calls: the median, but for what must not be hidden in a few of them.

    Before the first call, other arms were visited, and whoever works then slows them.
    """
    median_of = CallTiming(*(median(column) for column in zip(*map(astuple, timings), strict=True)))
    return replace(
        median_of,
        idle_us=max(timings[0].idle_us, median_of.idle_us),
        others_us=mean(one.others_us for one in timings),
    )


def audit_children(samples: Samples, n_children: int, children_us: float) -> Comparison | None:
    """Refuse processes beside the calls: no clock of the arm's shows their work."""
    cpu_us = sum(visit.cpu_us for visit in samples.visits["candidate"])
    if n_children:
        return refused_as_hack(f"it keeps {n_children} processes of its own")
    if children_us > _OTHERS_SHARE * cpu_us + _CHILDREN_ROUNDING_US:
        return refused_as_hack(f"child processes worked {children_us / 1e3:.0f} ms, all calls {cpu_us / 1e3:.0f} ms")
    return None
