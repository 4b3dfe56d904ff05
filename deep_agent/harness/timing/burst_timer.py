"""Times bursts of calls on a CUDA device. Reads the judge's clock through the arm; loads torch.

Events on the arm's stream time each call by itself, finely, and each burst as a whole, for the sake of kernels on other
streams. A short burst holds the device until its calls lie queued: its host has just woken, and without that events
would see the device wait for it. But events are written by a process that is believed in nothing. So in the end every
arm runs some bursts that are long enough for the judge's own clock, less what emptying the cache takes on a trusted arm
and what digesting results takes. The two must agree. Where they do not, either the host was busy all along, and the
judge's clock counts for every arm, or the device did work that the events did not see.
"""

import base64
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, replace
from functools import partial
from random import Random
from statistics import median
from typing import Final
from weakref import WeakSet

import torch

from deep_agent.harness.answers.compare import Comparison
from deep_agent.harness.answers.stage import Change, Desk, Stage, Witnessed
from deep_agent.harness.arms.arm import Arm, CallTiming, blaming
from deep_agent.harness.arms.places import FLUSH_CACHES, CudaDevice
from deep_agent.harness.sandbox.wire import Verb
from deep_agent.harness.timing.card_watch import CardWatch, card_watch
from deep_agent.harness.timing.claims import Claims
from deep_agent.harness.timing.samples import Samples
from deep_agent.harness.timing.timers import Overhead, refused_as_hack
from deep_agent.harness.timing.two_clocks import (
    CLOCK_BURST_US,
    HOST_SHARE,
    agree,
    by_clock_us,
    counted_us,
    counting_by_clock,
    hidden_work,
    lower_quartile,
    n_calls_in,
    spared_work,
    with_all_that_ran,
)
from deep_agent.problem.evaluation import SustainedTiming

BURST_US: Final = 4000.0
"""Device time a visit aims for."""
_MOST_BURSTS: Final = 3
"""Bursts of a visit: before each, contents change, and no burst meets the same contents twice."""
_CLOCK_ROUNDS: Final = 2
_CLOCK_ROUNDS_IN_DOUBT: Final = 8
_HOLD_US: Final = (200.0, 20_000.0)
"""The least and most that the device is held for a short burst to be queued. On an H200, torch.compile's backward pass of
RMS norm took 135 to 326 us by events in 48 visits without it, and 135 to 137 us in 16 with it; its host, just woken,
took 250 to 600 us a call."""
_HOLD_FACTOR: Final = 1.5
_EMPTYINGS: Final = 16
_EMPTYINGS_HELD_US: Final = 1000.0
"""What emptying takes is told by a trusted arm's events, while the device is held: by the clock of an H200 it came out as
48 to 98 us without that, and as 63 to 74 with it."""
_EMPTYINGS_TIMED: Final = 4
_DIGESTS_TIMED: Final = 3
_BUSY_HOST_US: Final = 500.0
"""A host that works this long a call may do what the device should; launching seldom takes it."""
_EXCHANGED_BYTES_PER_S: Final = 200e6
"""Traffic both ways, at its height, that says so. Launching alone was seen to send 33 MB/s to the host, and copies of 16 MB
in a call of 100 ms more than ten times this."""
_WATCHED_CALLS: Final = 16
_WATCHED_S: Final = (0.25, 8.0)
"""Calls that go on while traffic is counted, and the least and most time that takes: a copy is short, and must be met. Traffic is
counted for 20 ms, one way at a time."""
_LOOKS_APART_S: Final = 0.04
"""Chance lets up to so much pass between looks. Without it, calls of 40, 80 or 120 ms come in step with them, and show nothing of
their copies four times in five; a candidate of 100 ms on a busy host was once let pass."""
PROCESS_RESOLUTION: Final = 0.003
"""Sixty pairs of one kernel on an H200 lay from 1.0005 to 1.0027, each to 0.0005 and all on one side: two processes
that run the same code on the same memory differ by that much, whatever the number of rounds."""
BURST_TIMEOUT_S: Final = 60.0


class BurstTimer:
    """Times calls in bursts over rotated buffers, each with an emptied L2."""

    resolution = PROCESS_RESOLUTION
    news_factor = 1.15

    def __init__(self, device: CudaDevice, chance: Random) -> None:
        """Keep the device, and the chance that orders the calls of a burst."""
        self._device = device
        self._chance = chance
        self._ready: WeakSet[Arm] = WeakSet()
        self._watch = card_watch(device.uuid)
        self._since_s = time.monotonic()

    def overhead(self, desk: Desk) -> Overhead:
        """Time emptying the cache by the events of an arm that is trusted, and the rest of a burst by the judge's clock."""
        self._since_s = time.monotonic()
        return self._overhead(desk)

    def _overhead(self, desk: Desk) -> Overhead:
        bursts = [self._emptyings(desk.arm) for _ in range(_EMPTYINGS_TIMED)]
        # A pair of events around nothing is no part of it: the time of a call holds one too.
        call_us = min(claims.whole_us - sum(claims.calls_us) for _, claims in bursts) / (_EMPTYINGS + 1)
        visit_us = min(timing.wall_us - claims.whole_us for timing, claims in bursts) - _EMPTYINGS_HELD_US
        return Overhead(max(visit_us, 0.0), call_us, self._result_us(desk))

    def _result_us(self, desk: Desk) -> float:
        """Time in the judge's own process what an arm's witness does there, of the same results: it reads as much.

        Launching is left out, which goes on beside the calls where the device is what a burst waits for.
        """
        results = [list(slot.outputs.tensors.values()) for slot in desk.slots]
        slivers = [[tensor.reshape(-1)[:1] for tensor in tensors] for tensors in results]
        launching_us = min(self._digesting_us(slivers) for _ in range(_DIGESTS_TIMED))
        return max(min(self._digesting_us(results) for _ in range(_DIGESTS_TIMED)) - launching_us, 0.0) / len(results)

    def _digesting_us(self, results: list[list[torch.Tensor]]) -> float:
        self._device.touch()
        started_ns = time.perf_counter_ns()
        self._device.digests(results, 0)
        return (time.perf_counter_ns() - started_ns) / 1e3

    def _emptyings(self, arm: Arm) -> tuple[CallTiming, Claims]:
        # The device has just worked for the judge, as it has before every visit.
        self._device.touch()
        return self._burst(arm, [None] * _EMPTYINGS, hold_us=_EMPTYINGS_HELD_US)

    def visit(
        self, stage: Stage, desk: Desk, overhead: Overhead, *, check: bool
    ) -> tuple[CallTiming, Comparison | None]:
        """Time a few bursts in which no input set comes twice; the results of one call are checked, where a check is due."""
        self._attend()
        if desk.call_us is None:
            # How many calls a visit needs shows in a first one, which counts for nothing.
            self._once_each(stage, desk, overhead, change="a_block")
        n_bursts = min(max(n_calls_in(BURST_US, desk.call_us) // stage.n_sets, 1), _MOST_BURSTS)
        timed = [self._once_each(stage, desk, overhead, change="a_block") for _ in range(n_bursts)]
        found = stage.check(desk, self._chance.choice(timed[-1][1]), quick=True) if check else None
        columns = zip(*(astuple(timing) for timing, _ in timed), strict=True)
        return CallTiming(*map(median, columns)), found if found is not None and not found.matches else None

    def look(self, stage: Stage, desk: Desk, overhead: Overhead, *, change: Change) -> tuple[float, int]:
        """Time one burst in which no input set comes twice."""
        timing, order = self._once_each(stage, desk, overhead, change=change)
        return counted_us(timing), self._chance.choice(order)

    def _once_each(
        self, stage: Stage, desk: Desk, overhead: Overhead, *, change: Change
    ) -> tuple[CallTiming, list[int]]:
        """Run a burst over input sets that all differ from their last call's, so that none can be skipped."""
        n_calls = min(n_calls_in(BURST_US, desk.call_us), stage.n_sets)
        order = self._chance.sample(range(stage.n_sets), k=n_calls)
        timing, _ = self._timed(stage, desk, overhead, order, change=change, hold_us=_hold_us(desk, n_calls))
        desk.call_us, desk.host_us = timing.wall_us, timing.cpu_us
        return timing, order

    def _long(self, stage: Stage, desk: Desk, overhead: Overhead) -> tuple[CallTiming, int]:
        """Run a burst that is long enough for the judge's clock: some input sets again and again, then others once.

        Gives one of the latter too, for a check of what its call left. Whoever skips what comes again is slower on those,
        and whoever skips them too gives no results. Nothing holds the device first: what a side stream does meanwhile
        would be hidden from the clock too.
        """
        n_calls = n_calls_in(CLOCK_BURST_US, desk.call_us)
        n_new = min(stage.n_sets // 2, n_calls // 2)
        n_again = n_calls - n_new
        sets = self._chance.sample(range(stage.n_sets), k=stage.n_sets)
        new, known = sets[:n_new], sets[n_new:]
        order = [*self._chance.choices(known, k=n_again), *new]
        timing, calls_us = self._timed(stage, desk, overhead, order, change="a_block")
        again_us, new_us = map(lower_quartile, (calls_us[:n_again], calls_us[n_again:]))
        return replace(timing, wall_us=again_us, new_us=new_us), self._chance.choice(new)

    def _timed(
        self, stage: Stage, desk: Desk, overhead: Overhead, order: list[int], *, change: Change, hold_us: float = 0.0
    ) -> tuple[CallTiming, list[float]]:
        """Run one burst with these input sets; also gives what events say of each of its calls."""
        for index in set(order):
            stage.prepare(desk, index, change=change)
        self._device.settle()
        bindings: list[int | None] = [desk.slots[index].binding for index in order]
        timing, claims = self._burst(desk.arm, bindings, hold_us=hold_us)
        started_ns = time.perf_counter_ns()
        self._device.touch()
        late_us = (time.perf_counter_ns() - started_ns) / 1e3
        self._note(desk, order, claims)
        call_us, n_calls = median(claims.calls_us), len(order)
        emptyings_us = (n_calls + 1) * overhead.call_us
        beside_us = hold_us + overhead.visit_us + emptyings_us + len(set(order)) * overhead.result_us
        seen = replace(
            timing,
            wall_us=call_us,
            cpu_us=timing.cpu_us / n_calls,
            second_us=max((timing.wall_us - beside_us) / n_calls, 0.01 * call_us),
            late_us=late_us,
            whole_us=(claims.whole_us - emptyings_us) / n_calls,
        )
        return seen, claims.calls_us

    def _note(self, desk: Desk, order: list[int], claims: Claims) -> None:
        digests = dict(zip(dict.fromkeys(order), claims.digests, strict=True))
        desk.witnessed = Witnessed(digests, partial(self._device.digests, salt=claims.salt))

    def _burst(
        self,
        arm: Arm,
        bindings: list[int | None],
        *,
        empties: bool = True,
        hold_us: float = 0.0,
        witnessed: bool = True,
    ) -> tuple[CallTiming, Claims]:
        if arm not in self._ready:
            self._make_ready(arm)
        claims = os.memfd_create("deep-agent-claims", os.MFD_CLOEXEC)
        try:
            payload = {"bindings": bindings, "empties": empties, "hold_us": hold_us, "witnessed": witnessed}
            timing = arm.ask(Verb.BURST, payload, [claims], timeout_s=BURST_TIMEOUT_S)
            return timing, Claims.read(claims, len(bindings), len(set(bindings) - {None}) if witnessed else 0)
        finally:
            os.close(claims)

    def _make_ready(self, arm: Arm) -> None:
        kernels = {name: base64.b64encode(code).decode() for name, code in self._device.arm_kernels.items()}
        n_bytes = FLUSH_CACHES * self._device.l2_bytes
        arm.ask(Verb.EQUIP, {"kernels": kernels, "n_bytes": n_bytes}, timeout_s=BURST_TIMEOUT_S)
        self._ready.add(arm)

    def conclude(
        self, samples: Samples, stage: Stage, desks: Mapping[str, Desk], overhead: Overhead
    ) -> tuple[Samples, Comparison | None]:
        """Look again with the judge's clock; where it disagrees for who is judged, its samples replace the others.

        A slow host is held against candidate and incumbent. The library's is not: what it takes of the device is what a
        graph of its calls would take, and nothing is gained over it by being quicker to launch.
        """
        samples.device_state = None if self._watch is None else self._watch.since(self._since_s)
        looked_at = {arm: desk for arm, desk in desks.items() if arm != "twin"}
        # Clocks rise while a card works: what emptying cost at the start is not what it costs now.
        with blaming("baseline"):
            overhead = self._overhead(desks["baseline"])
        second, wrong = self._by_clock(stage, looked_at, overhead, n_rounds=_CLOCK_ROUNDS)
        refused = wrong or hidden_work(samples, second, at_first_sight=True)
        refused = refused or self._audit_host(samples, second, stage, desks["candidate"], overhead)
        if refused is not None or (agree(samples, second) and spared_work(samples, second) is None):
            return with_all_that_ran(samples), refused
        # Two rounds may have met a host that others kept busy, as may what emptying was found to take: more of them decide.
        with blaming("baseline"):
            overhead = self._overhead(desks["baseline"])
        second, wrong = self._by_clock(stage, desks, overhead, n_rounds=_CLOCK_ROUNDS_IN_DOUBT)
        refused = wrong or hidden_work(samples, second) or spared_work(samples, second)
        if refused is not None or agree(samples, second):
            return with_all_that_ran(samples), refused
        return counting_by_clock(samples, second), None

    def sustain(
        self, samples: Samples, stage: Stage, desks: Mapping[str, Desk], overhead: Overhead, seconds: float
    ) -> Comparison | None:
        """Run candidate and baseline for at least `seconds` each, without a pause or an emptied cache between calls."""
        with blaming("baseline"):
            baseline = self._run_on(stage, desks["baseline"], overhead, seconds)
        candidate = self._run_on(stage, desks["candidate"], overhead, seconds)
        samples.sustained = SustainedTiming(
            candidate_us=candidate.call_us,
            baseline_us=baseline.call_us,
            seconds=min(candidate.seconds, baseline.seconds),
            candidate_j=candidate.call_j,
            baseline_j=baseline.call_j,
        )
        # A burst more, on new contents: a witness would be in the time of each of the others.
        order, bindings = self._prepared(stage, desks["candidate"], CLOCK_BURST_US)
        self._note(desks["candidate"], order, self._burst(desks["candidate"].arm, bindings, empties=False)[1])
        checked = stage.check(desks["candidate"], order[-1], quick=True)
        return None if checked.matches else checked

    def _run_on(self, stage: Stage, desk: Desk, overhead: Overhead, seconds: float) -> "_Run":
        _, bindings = self._prepared(stage, desk, seconds * 1e6)
        before_j = self._energy_j()
        n_calls, wall_us = 0, 0.0
        while wall_us < seconds * 1e6:
            self._attend()
            timing, _ = self._burst(desk.arm, bindings, empties=False, witnessed=False)
            wall_us += max(timing.wall_us - overhead.visit_us, 1.0)
            n_calls += len(bindings)
        after_j = self._energy_j()
        call_j = None if before_j is None or after_j is None else max(after_j - before_j, 0.0) / n_calls
        return _Run(wall_us / n_calls, call_j, wall_us / 1e6)

    def _prepared(self, stage: Stage, desk: Desk, burst_us: float) -> tuple[list[int], list[int | None]]:
        """Prepare all input sets for a burst that calls them in turn; gives their numbers and bindings, a call each."""
        for index in range(stage.n_sets):
            stage.prepare(desk, index)
        self._device.settle()
        order = [turn % stage.n_sets for turn in range(n_calls_in(burst_us, desk.call_us))]
        return order, [desk.slots[index].binding for index in order]

    def _attend(self) -> None:
        if self._watch is not None:
            self._watch.attend()

    def _energy_j(self) -> float | None:
        return None if self._watch is None else self._watch.energy_j()

    def _by_clock(
        self, stage: Stage, desks: Mapping[str, Desk], overhead: Overhead, *, n_rounds: int
    ) -> tuple[Samples, Comparison | None]:
        """Run some long bursts of each arm; also says what is wrong with the candidate's results."""
        found = Samples.of(desks)
        names = list(desks)
        for _ in range(n_rounds):
            self._chance.shuffle(names)
            for name in names:
                with blaming(name):
                    timing, new = self._long(stage, desks[name], overhead)
                found.add(name, timing)
                checked = stage.check(desks[name], new, quick=True) if name == "candidate" else None
                if checked is not None and not checked.matches:
                    return found, checked
        return found, None

    def _audit_host(
        self, short: Samples, long: Samples, stage: Stage, desk: Desk, overhead: Overhead
    ) -> Comparison | None:
        """Refuse a candidate whose host is busy all along while data go there and back: it computes there.

        In short bursts it may do so while the device is held, which no clock shows. It can leave that out of long ones,
        where contents come again, so those do not clear it.
        """
        seen_us = [
            (median(one.cpu_us for one in short.visits["candidate"]), median(short.wall_us("candidate"))),
            (median(one.cpu_us for one in long.visits["candidate"]), by_clock_us(long, "candidate")),
        ]
        busy_us = [host for host, wall in seen_us if host >= max(HOST_SHARE * wall, _BUSY_HOST_US)]
        if self._watch is None or not busy_us:
            return None
        host_us = max(busy_us)
        with ThreadPoolExecutor(1) as pool:
            counting = pool.submit(_most_exchanged, self._watch, _watched_s(host_us), Random(self._chance.random()))
            while not counting.done():
                self._once_each(stage, desk, overhead, change="a_block")
        exchanged = counting.result()
        if exchanged < _EXCHANGED_BYTES_PER_S:
            return None
        return refused_as_hack(
            f"it computes on the processor: {host_us:.0f} us a call are processor time, and "
            f"{exchanged / 1e6:.0f} MB/s go to the host and back"
        )


@dataclass(frozen=True, slots=True)
class _Run:
    """Calls in a row of one arm."""

    call_us: float
    call_j: float | None
    seconds: float


def _watched_s(host_us: float) -> float:
    """How long traffic is counted for calls that take a host so long."""
    least_s, most_s = _WATCHED_S
    return min(max(_WATCHED_CALLS * host_us / 1e6, least_s), most_s)


def _most_exchanged(watch: CardWatch, seconds: float, chance: Random) -> float:
    """Give the height of the traffic in its lesser direction, in bytes a second; 0 where none is counted.

    It ends once that is enough to accuse, or when so many seconds have passed.

    Launching kernels goes mostly one way; results that are made on the host need both.
    """
    until_s = time.monotonic() + seconds
    leaving, entering = 0.0, 0.0
    while time.monotonic() < until_s and min(leaving, entering) < _EXCHANGED_BYTES_PER_S:
        found = watch.traffic_bytes_per_s()
        if found is None:
            break
        leaving, entering = max(leaving, found[0]), max(entering, found[1])
        time.sleep(chance.uniform(0.0, _LOOKS_APART_S))
    return min(leaving, entering)


def _hold_us(desk: Desk, n_calls: int) -> float:
    """How long the device must be held for so many calls to lie queued."""
    least_us, most_us = _HOLD_US
    return min(max(_HOLD_FACTOR * n_calls * desk.host_us, least_us), most_us)
