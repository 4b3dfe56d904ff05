"""What the two clocks over bursts on a device come to; the bursts themselves need a device."""

import time
from dataclasses import dataclass
from random import Random
from statistics import median

import pytest

from deep_agent.harness.answers.compare import Comparison
from deep_agent.harness.answers.stage import Desk, Slot
from deep_agent.harness.arms.arm import CallTiming
from deep_agent.harness.timing.burst_timer import PROCESS_RESOLUTION, BurstTimer
from deep_agent.harness.timing.samples import Samples
from deep_agent.harness.timing.timers import Overhead, refused_as_hack
from deep_agent.problem.trace import Correctness, EvaluationStatus

MATCHES = Comparison(EvaluationStatus.PASSED, Correctness(max_relative_error=0.0, max_absolute_error=0.0))


@dataclass
class Device:
    l2_bytes: int = 50 * 2**20
    uuid: str = "GPU-none"

    def settle(self) -> None: ...

    def touch(self) -> None: ...


class Bursts(BurstTimer):
    """Takes what the judge's clock finds, and what contents that come again are worth, from a script instead of a device."""

    def __init__(self, by_clock: dict[str, CallTiming], share_again: float = 1.0, found: Comparison = MATCHES) -> None:
        super().__init__(Device(), Random(1))
        self._scripted = by_clock
        self._scripted_share = share_again, found
        self.n_rounds: list[int] = []

    def _by_clock(self, stage, desks, overhead, *, n_rounds):
        self.n_rounds.append(n_rounds)
        return Samples({arm: [self._scripted[arm]] * n_rounds for arm in desks})

    def _share_again(self, stage, desk):
        return self._scripted_share

    def _emptying(self, arm):
        return Overhead(0.0)


def timing(events_us=100.0, clock_us=104.0, host_us=30.0, late_us=250.0) -> CallTiming:
    return CallTiming(wall_us=events_us, cpu_us=host_us, second_us=clock_us, late_us=late_us)


def concluded(candidate: CallTiming, baseline: CallTiming | None = None):
    arms = {"baseline": baseline or timing(), "candidate": candidate}
    timer = Bursts(arms)
    samples = Samples({arm: [one] * 8 for arm, one in arms.items()}, PROCESS_RESOLUTION)
    found, refused = timer.conclude(samples, None, {arm: Desk(arm) for arm in arms}, Overhead(0.0))
    return samples, found, refused, timer


def test_events_count_where_the_clock_agrees():
    samples, found, refused, timer = concluded(timing())
    assert (found, refused) == (samples, None)
    assert len(timer.n_rounds) == 1


def test_the_clock_counts_for_every_arm_where_a_host_was_busy_all_along():
    _, found, refused, _ = concluded(timing(clock_us=160.0, host_us=150.0))
    assert refused is None
    assert set(found.wall_us("candidate")) == {160.0}
    assert set(found.wall_us("baseline")) == {100.0}
    assert found.resolution == PROCESS_RESOLUTION


def test_a_busy_host_of_the_library_is_not_held_against_it():
    samples, found, refused, _ = concluded(timing(), baseline=timing(clock_us=160.0, host_us=150.0))
    assert (found, refused) == (samples, None)


SLOW_HOST = timing(clock_us=160.0, host_us=150.0)


def test_a_candidate_with_a_slow_host_does_not_gain_by_the_librarys():
    _, found, refused, _ = concluded(SLOW_HOST, baseline=timing(clock_us=300.0, host_us=290.0))
    assert refused is None
    assert set(found.wall_us("candidate")) == {160.0}
    assert set(found.wall_us("baseline")) == {100.0}


@pytest.mark.parametrize(
    ("arms", "counted_us"),
    [
        (
            {"baseline": SLOW_HOST, "incumbent": SLOW_HOST, "twin": SLOW_HOST, "candidate": timing()},
            {"baseline": 100.0, "incumbent": 160.0, "twin": 160.0, "candidate": 104.0},
        ),
        (
            {"baseline": SLOW_HOST, "twin": SLOW_HOST, "candidate": SLOW_HOST},
            {"baseline": 100.0, "twin": 100.0, "candidate": 160.0},
        ),
    ],
    ids=["the champion's twin", "the library's twin"],
)
def test_the_clock_counts_for_a_champion_and_its_twin_but_not_for_the_librarys(arms, counted_us):
    timer = Bursts(arms)
    samples = Samples({arm: [one] * 8 for arm, one in arms.items()}, PROCESS_RESOLUTION)
    found, refused = timer.conclude(samples, None, {arm: Desk(arm) for arm in arms}, Overhead(0.0))
    assert refused is None
    assert {arm: median(found.wall_us(arm)) for arm in arms} == counted_us


def concluded_in_two_looks(first: list[CallTiming], then: list[CallTiming], share_again: float = 1.0):
    """Conclude on a candidate of which the first two rounds by the clock find one thing, and the next eight another."""
    timer = Bursts({}, share_again)
    looks = iter((first, then))
    timer._by_clock = lambda *_, **__: Samples({"baseline": [timing()] * 2, "candidate": next(looks)})
    samples = Samples({arm: [timing()] * 8 for arm in ("baseline", "candidate")}, PROCESS_RESOLUTION)
    found, refused = timer.conclude(samples, None, {arm: Desk(arm) for arm in samples.visits}, Overhead(0.0))
    assert next(looks, None) is None
    return samples, found, refused


HELD_UP = timing(clock_us=200.0, host_us=30.0)
"""A burst during which the host ran something else."""


@pytest.mark.parametrize(
    "first", [[SLOW_HOST] * 2, [timing(), HELD_UP]], ids=["a busy host", "a host that was held up"]
)
def test_a_host_that_was_slow_for_a_moment_changes_nothing(first):
    samples, found, refused = concluded_in_two_looks(first, [timing()] * 8)
    assert (found, refused) == (samples, None)


def test_the_second_look_refuses_what_a_busy_host_hid_from_the_first():
    *_, refused = concluded_in_two_looks([SLOW_HOST] * 2, [HELD_UP] * 8)
    assert refused is not None
    assert refused.status is EvaluationStatus.REWARD_HACK
    assert "where its events did not see it" in refused.message


def test_who_spares_its_work_in_the_second_look_alone_is_refused():
    *_, refused = concluded_in_two_looks([SLOW_HOST] * 2, [timing(events_us=5.0, clock_us=90.0)] * 8, share_again=0.1)
    assert refused is not None
    assert "calls in a row take less than one" in refused.message


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        (timing(events_us=2.0, clock_us=460.0), "where its events did not see it"),
        (timing(clock_us=40.0), "calls in a row take less than one"),
        (timing(late_us=900.0), "still busy after the answer"),
    ],
    ids=["work on a side stream", "a flush that was skipped", "work after the answer"],
)
def test_work_that_events_do_not_show_is_refused(candidate, words):
    *_, refused, _ = concluded(candidate)
    assert refused.status is EvaluationStatus.REWARD_HACK
    assert words in refused.message


@dataclass
class Traffic:
    """A card between which and the host so much goes, in turns: a copy out, then a copy in."""

    bytes_per_s: float | None
    is_leaving: bool = False

    def since(self, start_s: float) -> None: ...

    def attend(self) -> None: ...

    def traffic_bytes_per_s(self) -> tuple[float, float] | None:
        time.sleep(0.04)
        self.is_leaving = not self.is_leaving
        if self.bytes_per_s is None:
            return None
        return (self.bytes_per_s, 3e7) if self.is_leaving else (3e7, self.bytes_per_s)


BUSY_HOST = timing(events_us=9000.0, clock_us=9100.0, host_us=8000.0)


@pytest.mark.parametrize(
    ("candidate", "exchanged", "is_refused"),
    [
        (BUSY_HOST, 1e9, True),
        (BUSY_HOST, 1e6, False),
        (BUSY_HOST, None, False),
        (timing(events_us=9000.0, clock_us=9100.0, host_us=300.0), 1e9, False),
        (timing(events_us=100.0, clock_us=160.0, host_us=150.0), 1e9, False),
    ],
    ids=["computes there", "launches much", "nothing is counted", "waits for its copies", "a short call"],
)
def test_a_busy_host_is_refused_where_data_go_there_and_back(candidate, exchanged, is_refused):
    arms = {"baseline": timing(), "candidate": candidate}
    timer = Bursts(arms)
    timer._watch = Traffic(exchanged)
    timer._long = lambda *_: time.sleep(0.01)
    samples = Samples({arm: [one] * 8 for arm, one in arms.items()}, PROCESS_RESOLUTION)
    _, refused = timer.conclude(samples, None, {arm: Desk(arm) for arm in arms}, Overhead(0.0))
    assert (refused is not None) == is_refused
    if refused is not None:
        assert refused.status is EvaluationStatus.REWARD_HACK
        assert "it computes on the processor" in refused.message


def concluded_where_contents_come_again(share: float, found: Comparison = MATCHES):
    arms = {"baseline": timing(), "candidate": timing(events_us=6.0, clock_us=9.0)}
    timer = Bursts(arms, share, found)
    samples = Samples({arm: [timing(events_us=15.0)] * 8 for arm in arms}, PROCESS_RESOLUTION)
    return timer.conclude(samples, None, {arm: Desk(arm) for arm in arms}, Overhead(0.0))[1]


def test_who_is_quicker_where_contents_come_again_is_refused():
    refused = concluded_where_contents_come_again(0.4)
    assert refused is not None
    assert refused.status is EvaluationStatus.REWARD_HACK
    assert "0.40 of its time where contents come again within a burst" in refused.message


def test_who_skips_whatever_comes_late_in_a_burst_is_found_by_its_results():
    wrong = Comparison(EvaluationStatus.INCORRECT_NUMERICAL, MATCHES.correctness, "off")
    assert concluded_where_contents_come_again(1.0, wrong) is wrong


def test_who_is_slow_in_short_bursts_whatever_their_contents_is_not():
    assert concluded_where_contents_come_again(0.9) is None


def test_a_clock_that_the_librarys_calls_beat_too_accuses_nobody():
    *_, refused, _ = concluded(timing(clock_us=1.0), baseline=timing(clock_us=1.0))
    assert refused is None


def test_one_late_answer_is_an_accident():
    arms = {"baseline": timing(), "candidate": timing()}
    samples = Samples({arm: [one] * 8 for arm, one in arms.items()}, PROCESS_RESOLUTION)
    samples.visits["candidate"][3] = timing(late_us=900.0)
    assert Bursts(arms).conclude(samples, None, {arm: Desk(arm) for arm in arms}, Overhead(0.0))[1] is None


class Loops(BurstTimer):
    """Answers a burst with what so many calls of each arm take, and once more for asking."""

    host_us = 1.0

    def __init__(self, call_us: dict[str, float], once_us: float) -> None:
        super().__init__(Device(), Random(1))
        self._call_us, self._once_us = call_us, once_us
        self.emptied: list[bool] = []
        self.bursts: list[list[int]] = []
        self.held_us: list[float] = []

    def _burst(self, arm, bindings, *, empties=True, hold_us=0.0):
        self.emptied.append(empties)
        self.held_us.append(hold_us)
        self.bursts.append(bindings)
        wall_us = self._once_us + len(bindings) * self._call_us[arm]
        return CallTiming(wall_us=wall_us, cpu_us=self.host_us * len(bindings)), [1.0] * len(bindings)


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
    assert stage.prepared == [0, 1, 0, 1]


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


@pytest.mark.parametrize(("host_us", "held_us"), [(1.0, 200.0), (300.0, 900.0), (80_000.0, 5000.0)])
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


def test_contents_come_often_within_a_burst_and_others_once_at_its_end():
    timer, stage, desk = visiting()
    bursts = []

    def claiming(arm, bindings):
        bursts.append(bindings)
        return timing(), [10.0] * 200 + [3.0] * 200 + [10.0]

    timer._burst = claiming
    share, found = timer._share_again(stage, desk)
    assert (share, found) == (pytest.approx(0.3), MATCHES)
    ((*again, new),) = bursts
    assert len(again) == 400
    assert set(again) == {0, 1} - {new}
    assert sorted(stage.prepared) == [0, 1]
    assert stage.changes == ["a_block"] * 2


def test_what_is_checked_of_such_a_burst_came_once():
    timer, stage, desk = visiting()
    checked = []
    stage.check = lambda desk, chosen, *, quick: checked.append(chosen)
    for _ in range(8):
        timer._share_again(stage, desk)
    assert checked == [burst[-1] for burst in timer.bursts]
