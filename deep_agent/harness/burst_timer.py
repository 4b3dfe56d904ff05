"""Times bursts of calls on a CUDA device. Reads the judge's clock through the arm; loads torch.

Two clocks look at every burst. Events on the arm's stream time each call by itself, finely, but are written by a
process that is believed in nothing. The judge's own clock times the whole burst; less what emptying the cache
takes, measured on a trusted arm, it must say the same. Where it does not, either the host was busy all along, and
the judge's clock counts for every arm, or the device did work that the events did not see.
"""

import array
import os
import time
from dataclasses import replace
from math import isfinite
from random import Random
from statistics import median
from typing import Final

from deep_agent.harness.arm import Arm, ArmFailed, CallTiming
from deep_agent.harness.compare import Comparison
from deep_agent.harness.places import CudaDevice
from deep_agent.harness.samples import Samples
from deep_agent.harness.stage import Desk, Stage
from deep_agent.harness.timers import refused_as_hack
from deep_agent.harness.wire import Verb

BURST_US: Final = 4000.0
"""Device time a burst aims for."""
_FEWEST_CALLS: Final = 3
_MOST_CALLS: Final = 40
_CACHES_PER_FLUSH: Final = 2
_FLUSHES_TIMED: Final = 20
AGREEMENT: Final = 1.1
"""The two clocks agree up to this ratio, and the slack."""
AGREEMENT_SLACK_US: Final = 4.0
"""For gaps between launches."""
_HOST_SHARE: Final = 0.6
"""Of the wall time that a calling process must have worked to count as the reason."""
_LATE_FACTOR: Final = 3.0
_LATE_SLACK_US: Final = 150.0
BURST_TIMEOUT_S: Final = 60.0


class BurstTimer:
    """Times calls in bursts over rotated buffers, each with an emptied L2."""

    def __init__(self, device: CudaDevice, chance: Random) -> None:
        """Keep the device, and the chance that orders the calls of a burst."""
        self._device = device
        self._chance = chance
        self._flush_bytes = _CACHES_PER_FLUSH * device.l2_bytes // 4096 * 4096
        self._call_us: dict[int, float] = {}

    def overhead_us(self, arm: Arm) -> float:
        """Time emptying the cache, alone and by the judge's clock, in microseconds a call."""
        self._burst(arm, [None] * _FLUSHES_TIMED)
        costs = [self._burst(arm, [None] * _FLUSHES_TIMED)[0].wall_us / _FLUSHES_TIMED for _ in range(3)]
        return median(costs)

    def visit(
        self, stage: Stage, desk: Desk, overhead_us: float, *, check: bool
    ) -> tuple[CallTiming, Comparison | None]:
        """Time one burst; the results of one of its calls are checked, where a check is due."""
        order = self._order(stage, desk)
        for index in set(order):
            stage.prepare(desk, index)
        self._device.settle()
        timing, claimed_us = self._burst(desk.arm, [desk.slots[index].binding for index in order])
        started_ns = time.perf_counter_ns()
        self._device.touch()
        late_us = (time.perf_counter_ns() - started_ns) / 1e3
        call_us = median(claimed_us)
        self._call_us[id(desk)] = call_us
        measured = replace(
            timing,
            wall_us=call_us,
            cpu_us=timing.cpu_us / len(order),
            second_us=max(timing.wall_us / len(order) - overhead_us, 0.0),
            late_us=late_us,
        )
        found = stage.check(desk, self._chance.choice(order), quick=True) if check else None
        return measured, found if found is not None and not found.matches else None

    def _order(self, stage: Stage, desk: Desk) -> list[int]:
        """Choose the input sets of a burst; a desk's first burst is short."""
        known_us = self._call_us.get(id(desk))
        n_calls = _FEWEST_CALLS if known_us is None else int(BURST_US / known_us)
        return self._chance.choices(range(stage.n_sets), k=min(max(n_calls, _FEWEST_CALLS), _MOST_CALLS))

    def _burst(self, arm: Arm, bindings: list[int | None]) -> tuple[CallTiming, list[float]]:
        ledger = os.memfd_create("deep-agent-ledger", os.MFD_CLOEXEC)
        try:
            payload = {"bindings": bindings, "flush_bytes": self._flush_bytes}
            timing = arm.ask(Verb.BURST, payload, [ledger], timeout_s=BURST_TIMEOUT_S)
            claimed_us = array.array("d", os.pread(ledger, 8 * len(bindings), 0))
        except ValueError as error:
            raise ArmFailed("its ledger of a burst is torn.") from error
        finally:
            os.close(ledger)
        if len(claimed_us) != len(bindings) or not all(isfinite(one) and one > 0 for one in claimed_us):
            raise ArmFailed("its ledger of a burst holds times that are none.")
        return timing, list(claimed_us)

    def reconcile(self, samples: Samples) -> Samples:
        """Let the judge's clock count for every arm where it disagrees with the events of any."""
        if all(self._agrees(visits) for visits in samples.visits.values()):
            return samples
        return Samples(
            {
                arm: [replace(one, wall_us=max(one.second_us, one.wall_us)) for one in visits]
                for arm, visits in samples.visits.items()
            }
        )

    def audit(self, samples: Samples) -> Comparison | None:
        """Refuse work that events did not see, times that the judge's clock cannot have, and work after the answer."""
        visits, trusted = samples.visits["candidate"], samples.visits["baseline"]
        by_events, by_clock = median(one.wall_us for one in visits), median(one.second_us for one in visits)
        host_us = median(one.cpu_us for one in visits)
        late_us, usual_us = (median(one.late_us for one in arm) for arm in (visits, trusted))
        if late_us > _LATE_FACTOR * usual_us + _LATE_SLACK_US:
            return refused_as_hack(
                f"the device was still busy after the answer: {late_us:.0f} us for a tiny kernel, "
                f"{usual_us:.0f} us after the library"
            )
        seen = f"{by_clock:.1f} us a call by the judge's clock, {by_events:.1f} us by events"
        if not self._agrees(visits) and host_us < _HOST_SHARE * by_clock:
            return refused_as_hack(f"the device worked where its events did not see it: {seen}")
        if by_clock < by_events / 2 - AGREEMENT_SLACK_US:
            return refused_as_hack(f"the cache was not emptied between calls: {seen}")
        return None

    def _agrees(self, visits: list[CallTiming]) -> bool:
        by_events, by_clock = median(one.wall_us for one in visits), median(one.second_us for one in visits)
        return by_clock <= AGREEMENT * by_events + AGREEMENT_SLACK_US
