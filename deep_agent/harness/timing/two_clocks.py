"""Says what two clocks over bursts on a device tell of each other. Values in, values out: reads no clock.

Events, by which short bursts are timed, are written by a process that is believed in nothing. The judge's own clock times
long bursts, less what emptying the cache takes on a trusted arm. Where the two disagree, either the host was busy all
along, or the device did work that the events did not see, or a cache was not emptied. Contents come again in long bursts:
they end with a few that do not, which tell whoever spares himself the work there.
"""

from collections.abc import Iterable
from dataclasses import replace
from math import inf
from statistics import median
from typing import Final

from deep_agent.harness.answers.compare import Comparison
from deep_agent.harness.arms.arm import CallTiming
from deep_agent.harness.timing.samples import Samples
from deep_agent.harness.timing.timers import refused_as_hack

CLOCK_BURST_US: Final = 50_000.0
"""Device time of a burst for the judge's clock: what a burst costs once is then a few per cent of it."""
_AGREEMENT: Final = 1.1
"""The two clocks agree up to this ratio, and the slack."""
_AGREEMENT_SLACK_US: Final = 4.0
"""For gaps between launches."""
_SPARED_SHARE: Final = 0.7
"""Of its time on new contents: who takes less where contents come again has spared itself the work. On an H200 honest
candidates took 0.93 and more, one that skips what it knows 0.43 and 0.53."""
HOST_SHARE: Final = 0.6
"""Of the wall time that a calling process must have worked to count as the reason."""
_PLAINLY: Final = 2.0
"""Times what events say: so much more accuses at the first look. On an H100 two bursts of an honest kernel, 211 us by events, once
took 17 % more by the clock, which may be the host's: the second look has eight."""
_SPARED_SLACK_US: Final = 1.0
"""What events resolve."""
_BESIDE_SLACK_US: Final = 2.0
"""What events of a burst as a whole may find more of a call, without anything else that ran: on an H100 from 0.7 us less to 1.4 us
more in 400 visits of honest candidates."""
_FEWEST_CALLS: Final = 3
_MOST_CALLS: Final = 400
_BURST_SLACK_US: Final = 1500.0
"""What a burst may take once: the device changes processes and looks its pages up anew."""
_LATE_FACTOR: Final = 1.5
_LATE_SLACK_US: Final = 100.0


def n_calls_in(burst_us: float, call_us: float | None) -> int:
    """Say how many calls a burst of this device time has, where a call takes `call_us` or nobody knows."""
    if call_us is None:
        return _FEWEST_CALLS
    return min(max(int(burst_us / call_us), _FEWEST_CALLS), _MOST_CALLS)


def counted_us(timing: CallTiming, usual_us: float = 0.0) -> float:
    """What a call of short bursts counts as by events: its share of all that ran, if that is more than is usual beside a call."""
    return timing.wall_us + max(_beside_us(timing) - usual_us - _BESIDE_SLACK_US, 0.0)


def with_all_that_ran(short: Samples) -> Samples:
    """Let all that ran count for who is judged. A library whose host is late is not held up by it."""
    # Lines that a call has written cost the next emptying time, on cards where reading takes longer than the least.
    # A host that is late in some visits shows too, and excuses nobody.
    usual_us = max(lower_quartile(map(_beside_us, short.visits["baseline"])), 0.0)
    visits = {
        arm: many if arm in _library(short) else [replace(one, wall_us=counted_us(one, usual_us)) for one in many]
        for arm, many in short.visits.items()
    }
    return Samples(visits, short.resolution, short.device_state)


def agree(short: Samples, long: Samples) -> bool:
    """Whether events may count: both clocks tell the same of everyone whose host counts."""
    return all(
        _is_seen(median(short.wall_us(arm)), by_clock_us(long, arm))
        for arm in ("candidate", "incumbent")
        if arm in long.visits
    )


def counting_by_clock(short: Samples, long: Samples) -> Samples:
    """Let the judge's clock count, but never more than what events found for the library."""
    library = _library(long)
    most_us = {arm: median(short.wall_us(arm)) for arm in library & short.visits.keys()}
    ran = with_all_that_ran(short)
    least_us = {arm: median(ran.wall_us(arm)) for arm in long.visits.keys() - library}
    visits = {
        arm: [
            replace(one, wall_us=max(min(one.second_us, most_us.get(arm, inf)), least_us.get(arm, 0.0))) for one in many
        ]
        for arm, many in long.visits.items()
    }
    return Samples(visits, short.resolution, short.device_state)


def hidden_work(short: Samples, long: Samples, *, at_first_sight: bool = False) -> Comparison | None:
    """Refuse a candidate whose work events did not see, or that worked after its answer; at first sight, only what is plain."""
    return _late(short) or (_plainly_unseen(short, long) if at_first_sight else _unseen(short, long))


def spared_work(short: Samples, long: Samples) -> Comparison | None:
    """Refuse a candidate that takes less for contents that came before in a burst than for new ones, or that empties no cache."""
    return _spared(short, long) or _not_emptied(long)


def _spared(short: Samples, long: Samples) -> Comparison | None:
    # A host only adds. In short bursts it does where calls wait for their device, in long ones where it is slow with what
    # it has not touched for a while: the least of all is what the device takes.
    again_us = min(one.wall_us for one in long.visits["candidate"])
    new_us = min(median(short.wall_us("candidate")), *(one.new_us for one in long.visits["candidate"]))
    if again_us + _SPARED_SLACK_US >= _SPARED_SHARE * new_us:
        return None
    return refused_as_hack(
        f"calls in a row take less than one: {again_us / new_us:.2f} of its time where contents come again within "
        "a burst, so the work is not done there"
    )


def _late(short: Samples) -> Comparison | None:
    late_us, usual_us = (median(one.late_us for one in short.visits[arm]) for arm in ("candidate", "baseline"))
    if late_us <= _LATE_FACTOR * usual_us + _LATE_SLACK_US:
        return None
    return refused_as_hack(
        f"the device was still busy after the answer: {late_us:.0f} us until a tiny kernel was done, "
        f"{usual_us:.0f} us after the library"
    )


def _plainly_unseen(short: Samples, long: Samples) -> Comparison | None:
    by_events, least = median(short.wall_us("candidate")), _least_by_clock(long)
    return None if _is_seen(_PLAINLY * by_events, least.second_us) else _unseen_beside(by_events, least, long)


def _unseen(short: Samples, long: Samples) -> Comparison | None:
    # A card may be slower for a while: then its events say so too, and the clock counts.
    least = _least_by_clock(long)
    by_events = max(median(short.wall_us("candidate")), least.wall_us)
    return None if _is_seen(by_events, least.second_us) else _unseen_beside(by_events, least, long)


def _least_by_clock(long: Samples) -> CallTiming:
    # What is hidden shows in every burst; a process that the host held up for a moment is no reason to accuse it.
    return min(long.visits["candidate"], key=lambda one: one.second_us)


def _unseen_beside(by_events: float, least: CallTiming, long: Samples) -> Comparison | None:
    if least.cpu_us >= HOST_SHARE * least.second_us:
        return None
    return refused_as_hack(
        f"the device worked where its events did not see it: {by_clock_us(long, 'candidate'):.1f} us a call "
        f"by the judge's clock, {by_events:.1f} us by events"
    )


def _not_emptied(long: Samples) -> Comparison | None:
    """Refuse whose long bursts take less than their calls and as many emptyings."""
    # A clock that makes the library's calls impossible too says nothing of the candidate.
    if _is_possible(long, "candidate") or not _is_possible(long, "baseline"):
        return None
    return refused_as_hack(
        f"calls in a row take less than one, without the cache emptied: {by_clock_us(long, 'candidate'):.1f} us a call "
        f"by the judge's clock, {_again_us(long, 'candidate'):.1f} us by events"
    )


def _is_possible(long: Samples, arm: str) -> bool:
    return by_clock_us(long, arm) >= _again_us(long, arm) / 2 - _AGREEMENT_SLACK_US


def _is_seen(events_us: float, clock_us: float) -> bool:
    """Whether events saw all that the judge's clock found of a call in a long burst."""
    once_us = _BURST_SLACK_US / n_calls_in(CLOCK_BURST_US, events_us)
    return clock_us <= _AGREEMENT * events_us + _AGREEMENT_SLACK_US + once_us


def _beside_us(timing: CallTiming) -> float:
    """What ran besides a call, on streams of its own or late, by the events of a whole burst."""
    return timing.whole_us - timing.wall_us


def lower_quartile(found: Iterable[float]) -> float:
    """Give what a quarter of the values lie below; whoever spares himself more calls than that is found by it."""
    ordered = sorted(found)
    return ordered[len(ordered) // 4]


def _library(samples: Samples) -> set[str]:
    """Arms that run the library's calls."""
    return {"baseline"} if "incumbent" in samples.visits else {"baseline", "twin"}


def by_clock_us(long: Samples, arm: str) -> float:
    """Give an arm's time by the judge's clock."""
    return median(one.second_us for one in long.visits[arm])


def _again_us(long: Samples, arm: str) -> float:
    """Give an arm's time by events where contents come again."""
    return median(one.wall_us for one in long.visits[arm])
