"""Which calls bursts have, in which order, and what is made of their times; the bursts themselves need a device."""

import array
import os
import time
from dataclasses import dataclass, field
from random import Random
from types import MappingProxyType

import pytest

from deep_agent.harness.answers.compare import Comparison
from deep_agent.harness.answers.stage import Desk, Slot
from deep_agent.harness.arms.arm import ArmFailed, CallTiming
from deep_agent.harness.arms.places import Host
from deep_agent.harness.sandbox.wire import Verb
from deep_agent.harness.timing import burst_timer
from deep_agent.harness.timing.burst_timer import BurstTimer
from deep_agent.harness.timing.claims import Claims
from deep_agent.harness.timing.samples import Samples
from deep_agent.harness.timing.timers import Overhead, refused_as_hack
from deep_agent.problem.dtype import DType
from deep_agent.problem.trace import Correctness, EvaluationStatus

MATCHES = Comparison(EvaluationStatus.PASSED, Correctness(max_relative_error=0.0, max_absolute_error=0.0))


@dataclass
class Device:
    l2_bytes: int = 50 * 2**20
    uuid: str = "GPU-none"
    digested: list[tuple[int, int]] = field(default_factory=list)
    """How many results were digested at once, and with which salt."""
    arm_kernels = MappingProxyType({"clearing": b"machine code", "witness": b"more of it"})

    def settle(self) -> None: ...

    def touch(self) -> None: ...

    def digests(self, results, salt):
        self.digested.append((len(results), salt))
        return [0] * len(results)


class Loops(BurstTimer):
    """Answers a burst with what so many calls of each arm take, and once more for asking."""

    host_us = 1.0
    whole_us = 1.0

    def __init__(self, call_us: dict[str, float], once_us: float) -> None:
        super().__init__(Device(), Random(1))
        self._call_us, self._once_us = call_us, once_us
        self.emptied: list[bool] = []
        self.bursts: list[list[int]] = []
        self.held_us: list[float] = []
        self.witnessed: list[bool] = []

    def _burst(self, arm, bindings, *, empties=True, hold_us=0.0, witnessed=True):
        self.emptied.append(empties)
        self.witnessed.append(witnessed)
        self.held_us.append(hold_us)
        self.bursts.append(bindings)
        wall_us = self._once_us + len(bindings) * self._call_us[arm]
        timing = CallTiming(wall_us=wall_us, cpu_us=self.host_us * len(bindings))
        digests = [1000.0 + binding for binding in dict.fromkeys(bindings)]
        whole_us = len(bindings) * self.whole_us
        return timing, Claims([1.0] * len(bindings), whole_us=whole_us, salt=5, digests=digests)


class Stage:
    """Two input sets; says what a check finds."""

    n_sets = 2

    def __init__(self, found: Comparison) -> None:
        self._found = found
        self.prepared: list[int] = []
        self.changes: list[str] = []

    def prepare(self, desk, index, *, change="a_block") -> None:
        self.prepared.append(index)
        self.changes.append(change)

    def check(self, desk, chosen, *, quick):
        return self._found


def sustained(found: Comparison):
    timer, stage = Loops({"candidate": 100.0, "baseline": 150.0}, once_us=400.0), Stage(found)
    slots = [Slot(binding, None) for binding in range(2)]
    desks = {arm: Desk(arm, call_us=120.0, slots=slots) for arm in ("baseline", "candidate")}
    samples = Samples()
    wrong = timer.sustain(samples, stage, desks, Overhead(visit_us=400.0), 2.0)
    return samples.sustained, wrong, timer, stage


def test_calls_without_a_pause_are_a_figure_of_their_own():
    found, wrong, timer, stage = sustained(MATCHES)
    assert wrong is None
    assert (found.candidate_us, found.baseline_us) == (pytest.approx(100.0), pytest.approx(150.0))
    assert found.seconds >= 2.0
    assert (found.candidate_j, found.baseline_j) == (None, None)
    assert not any(timer.emptied)
    assert stage.prepared == [0, 1, 0, 1, 0, 1]


def test_a_wrong_last_result_refuses_the_candidate():
    *_, wrong, _, _ = sustained(refused_as_hack("wrong"))
    assert wrong is not None


def visiting():
    timer, stage = Loops({"candidate": 100.0}, once_us=400.0), Stage(MATCHES)
    desk = Desk("candidate", call_us=120.0, slots=[Slot(binding, None) for binding in range(stage.n_sets)])
    return timer, stage, desk


def test_no_burst_of_a_visit_meets_the_same_contents_twice():
    timer, stage, desk = visiting()
    for _ in range(20):
        timer.visit(stage, desk, Overhead(0.0), check=True)
    assert all(len(set(burst)) == len(burst) == stage.n_sets for burst in timer.bursts)
    assert len(stage.prepared) == sum(map(len, timer.bursts))
    assert set(stage.changes) == {"a_block"}


@pytest.mark.parametrize(("host_us", "held_us"), [(1.0, 200.0), (300.0, 900.0), (80_000.0, 20_000.0)])
def test_the_device_is_held_for_as_long_as_the_host_takes_to_queue_a_burst(host_us, held_us):
    timer, stage, desk = visiting()
    timer.host_us = host_us
    for _ in range(3):
        timer.visit(stage, desk, Overhead(0.0), check=False)
    assert set(timer.held_us[1:]) == {held_us}


def test_nothing_holds_the_device_before_the_judges_clock_looks():
    timer, stage, desk = visiting()
    timer._by_clock(stage, {"candidate": desk}, Overhead(0.0), n_rounds=2)
    assert set(timer.held_us) == {0.0}


def test_a_long_burst_is_as_long_as_short_ones_say():
    timer, stage, desk = visiting()
    timer._by_clock(stage, {"candidate": desk}, Overhead(0.0), n_rounds=3)
    assert {len(burst) for burst in timer.bursts} == {400}
    assert desk.call_us == 120.0


def test_a_look_changes_all_of_what_it_calls_with():
    timer, stage, desk = visiting()
    call_us, index = timer.look(stage, desk, Overhead(0.0), change="all")
    assert call_us == 1.0
    assert index in range(stage.n_sets)
    assert sorted(timer.bursts[0]) == sorted(stage.prepared) == [0, 1]
    assert set(stage.changes) == {"all"}


def test_contents_come_often_in_a_long_burst_and_others_once_at_its_end():
    timer, stage, desk = visiting()

    def claiming(arm, bindings, *, hold_us):
        timer.bursts.append(bindings)
        return CallTiming(wall_us=4e4, cpu_us=4e3), Claims([10.0] * 270 + [3.0] * 129 + [10.0], 4e4, 5, [0.0, 1.0])

    timer._burst = claiming
    found, checked = timer._long(stage, desk, Overhead(0.0))
    assert (found.wall_us, found.new_us) == (3.0, 10.0)
    ((*again, new),) = timer.bursts
    assert len(again) == 399
    assert set(again) == {0, 1} - {new}
    assert checked == new
    assert sorted(stage.prepared) == [0, 1]
    assert set(stage.changes) == {"a_block"}


def test_a_long_burst_of_three_calls_ends_with_a_new_one():
    timer, stage, desk = visiting()
    desk.call_us = 1e6
    timer._long(stage, desk, Overhead(0.0))
    ((*again, new),) = timer.bursts
    assert len(again) == 2
    assert new not in again


@pytest.mark.parametrize(("name", "is_checked"), [("candidate", True), ("incumbent", False), ("baseline", False)])
def test_results_of_a_long_burst_are_checked_for_who_is_judged(name, is_checked):
    wrong = refused_as_hack("wrong")
    timer, stage = Loops({name: 100.0}, once_us=400.0), Stage(wrong)
    desk = Desk(name, call_us=120.0, slots=[Slot(binding, None) for binding in range(stage.n_sets)])
    _, found = timer._by_clock(stage, {name: desk}, Overhead(0.0), n_rounds=2)
    assert (found is wrong) == is_checked


class Emptyings(BurstTimer):
    """Empties in 65 us, after what a burst costs once; others keep the host busy at every burst but one."""

    def __init__(self) -> None:
        super().__init__(Device(), Random(1))
        self.n_bursts = 0

    def _burst(self, arm, bindings, *, hold_us):
        self.n_bursts += 1
        slow_us = 0.0 if self.n_bursts == 3 else 7.0
        whole_us = (65.0 + slow_us) * (len(bindings) + 1) + 1.5 * len(bindings)
        timing = CallTiming(wall_us=500.0 + slow_us + hold_us + whole_us, cpu_us=1.0)
        return timing, Claims([1.5] * len(bindings), whole_us, 5, [])


class Reading(Device):
    """Takes 1 ms to launch and 4 ms to read all results, and longer the first time."""

    def digests(self, results, salt):
        n_values = sum(tensor.numel() for tensors in results for tensor in tensors)
        time.sleep((1e-3 if n_values == len(results) else 5e-3) * (1 if self.digested else 4))
        return super().digests(results, salt)


def baseline():
    outputs = Host().region({"y": ((3,), DType.FLOAT32)}, Random(1), sealed=False)
    return Desk("baseline", slots=[Slot(binding, outputs) for binding in range(4)])


def test_what_emptying_takes_is_the_least_of_a_few_bursts():
    found = Emptyings().overhead(baseline())
    assert (found.call_us, found.visit_us) == (pytest.approx(65.0), pytest.approx(500.0))


def test_what_reading_a_result_takes_is_the_least_of_a_few_times():
    timer = Emptyings()
    timer._device = Reading()
    found = timer.overhead(baseline())
    assert 800.0 <= found.result_us < 1200.0
    assert {n_results for n_results, _ in timer._device.digested} == {4}


def test_all_that_ran_in_a_burst_is_shared_among_its_calls():
    timer, stage, desk = visiting()
    timer.whole_us = 170.0
    found, _ = timer.visit(stage, desk, Overhead(visit_us=400.0, call_us=65.0), check=False)
    assert found.wall_us == 1.0
    # Two calls, and three emptyings.
    assert found.whole_us == pytest.approx((2 * 170.0 - 3 * 65.0) / 2)
    assert timer.look(stage, desk, Overhead(visit_us=400.0, call_us=65.0), change="all")[0] == found.whole_us - 2.0


def test_the_clock_takes_off_an_emptying_more_than_there_are_calls():
    timer, stage, desk = visiting()
    desk.call_us = 1e6
    timing, _ = timer._long(stage, desk, Overhead(visit_us=400.0, call_us=10.0))
    assert timing.second_us == pytest.approx((3 * 100.0 - 4 * 10.0) / 3)


def test_the_clock_takes_off_what_digesting_takes_once_for_each_set():
    timer, stage, desk = visiting()
    timing, _ = timer._long(stage, desk, Overhead(visit_us=400.0, result_us=3000.0))
    assert timing.second_us == pytest.approx((400 * 100.0 - 2 * 3000.0) / 400)


def test_what_is_told_of_results_is_kept_for_their_check():
    timer, stage, desk = visiting()
    desk.slots = [Slot(17, None), Slot(23, None)]
    timer.visit(stage, desk, Overhead(0.0), check=True)
    assert desk.witnessed.digests == {0: 1017.0, 1: 1023.0}
    desk.witnessed.digest([[], []])
    assert timer._device.digested == [(2, 5)]


def test_only_results_of_the_latest_burst_are_witnessed():
    timer, stage, desk = visiting()
    desk.call_us = 1e6
    stage.n_sets = 6
    desk.slots = [Slot(binding, None) for binding in range(stage.n_sets)]
    timer.visit(stage, desk, Overhead(0.0), check=True)
    assert set(desk.witnessed.digests) == set(timer.bursts[-1])
    assert len(desk.witnessed.digests) == 3


def test_results_of_calls_without_a_pause_are_witnessed_once_all_are_timed():
    timer, stage = Loops({"candidate": 100.0, "baseline": 100.0}, once_us=400.0), Stage(MATCHES)
    desks = {
        name: Desk(name, call_us=120.0, slots=[Slot(17, None), Slot(23, None)]) for name in ("baseline", "candidate")
    }
    samples = Samples()
    timer.sustain(samples, stage, desks, Overhead(visit_us=400.0), 0.1)
    assert timer.witnessed == [False] * 6 + [True]
    assert desks["candidate"].witnessed.digests == {0: 1017.0, 1: 1023.0}
    assert desks["baseline"].witnessed is None
    assert (samples.sustained.candidate_us, samples.sustained.seconds) == (pytest.approx(100.0), pytest.approx(0.12))


class Asked:
    """An arm that keeps what it is asked, and claims 10 us for every call of a burst."""

    def __init__(self, digests: tuple[float, ...] = (7.0, 8.0), *, whole_us: float = 90.0, salt: float = 5.0) -> None:
        self.verbs: list[Verb] = []
        self.behind = whole_us, salt, *digests

    def ask(self, verb, payload, fds=(), *, timeout_s):
        self.verbs.append(verb)
        if verb is Verb.BURST:
            os.pwrite(fds[0], array.array("d", [10.0] * len(payload["bindings"]) + [*self.behind]).tobytes(), 0)
        return CallTiming(wall_us=100.0, cpu_us=10.0)


def test_each_arm_gets_what_empties_its_cache_before_its_first_burst():
    timer = BurstTimer(Device(), Random(1))
    one, other = Asked(), Asked()
    for arm in (one, one, other):
        assert timer._burst(arm, [7, 8, 7])[1] == Claims([10.0, 10.0, 10.0], 90.0, 5, [7.0, 8.0])
    assert one.verbs == [Verb.EQUIP, Verb.BURST, Verb.BURST]
    assert other.verbs == [Verb.EQUIP, Verb.BURST]


def test_an_emptying_alone_leaves_no_results():
    assert BurstTimer(Device(), Random(1))._burst(Asked(()), [None] * 2)[1] == Claims([10.0, 10.0], 90.0, 5, [])


def test_nobody_is_asked_for_digests_where_there_is_no_witness():
    found = BurstTimer(Device(), Random(1))._burst(Asked(()), [7, 8], witnessed=False)[1]
    assert found == Claims([10.0, 10.0], 90.0, 5, [])


def test_an_arm_that_claims_too_little_has_failed():
    with pytest.raises(ArmFailed, match="not all"):
        BurstTimer(Device(), Random(1))._burst(Asked((7.0,)), [7, 8])


@pytest.mark.parametrize("salt", [-1.0, 2.0**53, 1.5, float("nan"), float("inf")])
def test_an_arm_that_claims_no_salt_has_failed(salt):
    with pytest.raises(ArmFailed, match="none"):
        BurstTimer(Device(), Random(1))._burst(Asked(salt=salt), [7, 8])


@pytest.mark.parametrize("whole_us", [0.0, -1.0, float("nan"), float("inf")])
def test_an_arm_that_claims_no_time_has_failed(whole_us):
    with pytest.raises(ArmFailed, match="none"):
        BurstTimer(Device(), Random(1))._burst(Asked(whole_us=whole_us), [7, 8])


class Copies:
    """A card that calls of one length copy to and from, seen through looks of 20 ms, on a clock of its own."""

    copy_s = 0.004
    look_s = 0.02

    def __init__(self, call_s: float, phase_s: float) -> None:
        self.call_s, self.phase_s = call_s, phase_s
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def traffic_bytes_per_s(self) -> tuple[float, float]:
        return self._look(0.0), self._look(self.call_s - self.copy_s)

    def _look(self, copies_at_s: float) -> float:
        begins_s, self.now_s = self.now_s, self.now_s + self.look_s
        first = (begins_s - copies_at_s - self.phase_s) // self.call_s
        starts_s = [copies_at_s + self.phase_s + (first + n) * self.call_s for n in range(3)]
        seen_s = sum(max(min(start + self.copy_s, self.now_s) - max(start, begins_s), 0.0) for start in starts_s)
        return 900e6 * seen_s / self.copy_s


@pytest.mark.parametrize("call_ms", [25, 40, 45, 60, 80, 100, 120, 160, 240, 400])
def test_copies_are_met_whatever_length_calls_have(call_ms, monkeypatch):
    chance, n_met, tries = Random(call_ms), 0, 300
    for _ in range(tries):
        copies = Copies(call_ms / 1e3, chance.uniform(0.0, call_ms / 1e3))
        monkeypatch.setattr(burst_timer, "time", copies)
        n_met += burst_timer._most_exchanged(copies, burst_timer._watched_s(call_ms * 1e3), chance) >= 200e6
    assert n_met / tries > 0.97


def test_nobody_looks_on_once_enough_is_seen(monkeypatch):
    copies = Copies(0.03, 0.0)
    monkeypatch.setattr(burst_timer, "time", copies)
    burst_timer._most_exchanged(copies, 60.0, Random(1))
    assert copies.now_s < 1.0
