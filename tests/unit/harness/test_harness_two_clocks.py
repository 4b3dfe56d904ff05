"""What the two clocks over bursts on a device come to; the bursts themselves need a device."""

import time
from dataclasses import dataclass
from random import Random
from statistics import median
from types import SimpleNamespace

import pytest

from deep_agent.harness.answers.compare import Comparison
from deep_agent.harness.answers.stage import Desk
from deep_agent.harness.arms.arm import CallTiming
from deep_agent.harness.timing.burst_timer import PROCESS_RESOLUTION, BurstTimer
from deep_agent.harness.timing.samples import Samples
from deep_agent.harness.timing.timers import Overhead
from deep_agent.problem.trace import Correctness, EvaluationStatus

MATCHES = Comparison(EvaluationStatus.PASSED, Correctness(max_relative_error=0.0, max_absolute_error=0.0))


class Bursts(BurstTimer):
    """Takes what the judge's clock finds, and what is wrong with results, from a script instead of a device."""

    def __init__(self, by_clock: dict[str, CallTiming], wrong: Comparison | None = None) -> None:
        super().__init__(SimpleNamespace(uuid="GPU-none"), Random(1))
        self._scripted = by_clock
        self._wrong = wrong
        self.n_rounds: list[int] = []
        self.n_calibrated = 0

    def _by_clock(self, stage, desks, overhead, *, n_rounds):
        self.n_rounds.append(n_rounds)
        return Samples({arm: [self._scripted[arm]] * n_rounds for arm in desks}), self._wrong

    def _overhead(self, desk):
        self.n_calibrated += 1
        return Overhead(0.0)


def timing(events_us=100.0, clock_us=104.0, host_us=30.0, late_us=250.0, new_us=None, whole_us=None) -> CallTiming:
    return CallTiming(
        wall_us=events_us,
        cpu_us=host_us,
        second_us=clock_us,
        late_us=late_us,
        whole_us=whole_us or events_us,
        new_us=new_us or events_us,
    )


def concluded(candidate: CallTiming, baseline: CallTiming | None = None):
    arms = {"baseline": baseline or timing(), "candidate": candidate}
    timer = Bursts(arms)
    samples = Samples({arm: [one] * 8 for arm, one in arms.items()}, PROCESS_RESOLUTION)
    found, refused = timer.conclude(samples, None, {arm: Desk(arm) for arm in arms}, Overhead(0.0))
    return samples, found, refused, timer


def test_events_count_where_the_clock_agrees():
    samples, found, refused, timer = concluded(timing())
    assert (found, refused) == (samples, None)
    assert len(timer.n_rounds) == timer.n_calibrated == 1


def test_the_clock_counts_for_every_arm_where_a_host_was_busy_all_along():
    _, found, refused, timer = concluded(timing(clock_us=160.0, host_us=150.0))
    assert refused is None
    assert len(timer.n_rounds) == timer.n_calibrated == 2
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


FINISHES_LATER = timing(whole_us=150.0)
"""Works on beside its call, on a stream of its own."""


@pytest.mark.parametrize(
    ("arms", "counted_us"),
    [
        (
            {"baseline": timing(), "twin": FINISHES_LATER, "candidate": FINISHES_LATER},
            {"baseline": 100.0, "twin": 100.0, "candidate": 148.0},
        ),
        (
            {"baseline": timing(), "incumbent": FINISHES_LATER, "twin": FINISHES_LATER, "candidate": timing()},
            {"baseline": 100.0, "incumbent": 148.0, "twin": 148.0, "candidate": 100.0},
        ),
    ],
    ids=["the library's twin", "the champion's twin"],
)
def test_what_runs_beside_a_call_counts_but_for_the_library(arms, counted_us):
    timer = Bursts(arms)
    samples = Samples({arm: [one] * 8 for arm, one in arms.items()}, PROCESS_RESOLUTION)
    found, refused = timer.conclude(samples, None, {arm: Desk(arm) for arm in arms}, Overhead(0.0))
    assert refused is None
    assert {arm: median(found.wall_us(arm)) for arm in arms} == counted_us
    assert found.resolution == PROCESS_RESOLUTION


@pytest.mark.parametrize(
    ("late", "counted_us"),
    [(8, 100.0), (7, 100.0), (5, 148.0)],
    ids=["always", "all but once", "when its host is late"],
)
def test_what_the_librarys_calls_leave_to_the_emptying_is_no_candidates_fault(late, counted_us):
    arms = {"baseline": timing(), "candidate": FINISHES_LATER}
    samples = Samples({arm: [FINISHES_LATER] * 8 for arm in arms}, PROCESS_RESOLUTION)
    samples.visits["baseline"][late:] = [timing()] * (8 - late)
    found, _ = Bursts(arms).conclude(samples, None, {arm: Desk(arm) for arm in arms}, Overhead(0.0))
    assert set(found.wall_us("candidate")) == {counted_us}
    assert set(found.wall_us("baseline")) == {100.0}


def test_a_burst_that_others_held_up_adds_nothing():
    samples = Samples({arm: [timing()] * 8 for arm in ("baseline", "candidate")}, PROCESS_RESOLUTION)
    samples.visits["candidate"][3] = timing(whole_us=160.0)
    found, _ = Bursts({"baseline": timing(), "candidate": timing()}).conclude(
        samples, None, {arm: Desk(arm) for arm in samples.visits}, Overhead(0.0)
    )
    assert median(found.wall_us("candidate")) == 100.0
    assert set(found.wall_us("candidate")) == {100.0, 158.0}


def test_who_works_beside_in_most_bursts_only_gains_nothing_by_the_others():
    samples = Samples({arm: [timing()] * 8 for arm in ("baseline", "candidate")}, PROCESS_RESOLUTION)
    samples.visits["candidate"] = [timing(events_us=20.0, whole_us=102.0)] * 5 + [timing()] * 3
    arms = {"baseline": timing(), "candidate": timing(events_us=20.0, clock_us=24.0, whole_us=102.0)}
    found, _ = Bursts(arms).conclude(samples, None, {arm: Desk(arm) for arm in samples.visits}, Overhead(0.0))
    assert set(found.wall_us("candidate")) == {100.0}


def test_the_clock_counts_no_less_than_all_that_ran():
    hidden = timing(clock_us=120.0, host_us=110.0, whole_us=300.0)
    _, found, refused, _ = concluded(hidden)
    assert refused is None
    assert set(found.wall_us("candidate")) == {298.0}


def concluded_in_one_look(first: list[CallTiming]):
    """Conclude on a candidate on which the first two rounds by the clock find enough."""
    timer = Bursts({})
    timer._by_clock = lambda *_, n_rounds: (Samples({"baseline": [timing()] * n_rounds, "candidate": first}), None)
    samples = Samples({arm: [timing()] * 8 for arm in ("baseline", "candidate")}, PROCESS_RESOLUTION)
    assert len(first) == 2
    return samples, *timer.conclude(samples, None, {arm: Desk(arm) for arm in samples.visits}, Overhead(0.0))


def concluded_in_two_looks(first: list[CallTiming], then: list[CallTiming]):
    """Conclude on a candidate of which the first two rounds by the clock find one thing, and the next eight another."""
    timer = Bursts({})
    looks = iter((first, then))
    timer._by_clock = lambda *_, **__: (Samples({"baseline": [timing()] * 2, "candidate": next(looks)}), None)
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


SLOWER = timing(clock_us=130.0)
"""More than events of short bursts say, with an idle host; by so little that the first look tells nothing."""


def test_little_that_the_clock_finds_more_needs_the_second_look():
    samples, found, refused = concluded_in_two_looks([SLOWER] * 2, [timing()] * 8)
    assert (found, refused) == (samples, None)


def test_little_that_the_clock_always_finds_more_is_refused():
    *_, refused = concluded_in_two_looks([SLOWER] * 2, [SLOWER] * 8)
    assert refused is not None
    assert "where its events did not see it" in refused.message


def test_a_card_that_is_slower_for_a_while_accuses_nobody_and_the_clock_counts():
    slower = timing(events_us=126.0, clock_us=130.0)
    _, found, refused = concluded_in_two_looks([slower] * 2, [slower] * 8)
    assert refused is None
    assert set(found.wall_us("candidate")) == {130.0}


def test_the_second_look_refuses_what_a_busy_host_hid_from_the_first():
    *_, refused = concluded_in_two_looks([SLOW_HOST] * 2, [HELD_UP] * 8)
    assert refused is not None
    assert refused.status is EvaluationStatus.REWARD_HACK
    assert "where its events did not see it" in refused.message


def test_who_spares_its_work_in_the_second_look_alone_is_refused():
    *_, refused = concluded_in_two_looks([SLOW_HOST] * 2, [timing(events_us=20.0, clock_us=100.0, new_us=100.0)] * 8)
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
        (timing(events_us=9000.0, clock_us=9100.0, host_us=3000.0), 1e9, False),
        (timing(events_us=100.0, clock_us=160.0, host_us=150.0), 1e9, False),
    ],
    ids=[
        "computes there",
        "launches much",
        "nothing is counted",
        "waits for its copies",
        "works beside the device",
        "a short call",
    ],
)
def test_a_busy_host_is_refused_where_data_go_there_and_back(candidate, exchanged, is_refused):
    arms = {"baseline": timing(), "candidate": candidate}
    timer = Bursts(arms)
    timer._watch = Traffic(exchanged)
    timer._once_each = lambda *_, **__: time.sleep(0.01)
    samples = Samples({arm: [one] * 8 for arm, one in arms.items()}, PROCESS_RESOLUTION)
    _, refused = timer.conclude(samples, None, {arm: Desk(arm) for arm in arms}, Overhead(0.0))
    assert (refused is not None) == is_refused
    if refused is not None:
        assert refused.status is EvaluationStatus.REWARD_HACK
        assert "it computes on the processor" in refused.message


@pytest.mark.parametrize(
    ("short_host_us", "exchanged", "is_refused"),
    [(8000.0, 1e9, True), (8000.0, 1e6, False), (300.0, 1e9, False)],
    ids=["computes there", "launches late", "a short call"],
)
def test_a_host_that_is_busy_while_the_device_is_held_is_refused_too(short_host_us, exchanged, is_refused):
    arms = {"baseline": timing(), "candidate": timing()}
    timer = Bursts(arms)
    timer._watch = Traffic(exchanged)
    timer._once_each = lambda *_, **__: time.sleep(0.01)
    samples = Samples(
        {"baseline": [timing()] * 8, "candidate": [timing(host_us=short_host_us)] * 8}, PROCESS_RESOLUTION
    )
    _, refused = timer.conclude(samples, None, {arm: Desk(arm) for arm in arms}, Overhead(0.0))
    assert (refused is not None) == is_refused
    assert refused is None or "it computes on the processor" in refused.message


SPARING = timing(events_us=40.0, clock_us=50.0, new_us=100.0)
"""Takes 100 us in short bursts, and in long ones less for contents that came before."""


def test_who_is_quicker_where_contents_come_again_is_refused():
    *_, refused = concluded_in_two_looks([SPARING] * 2, [SPARING] * 8)
    assert refused is not None
    assert refused.status is EvaluationStatus.REWARD_HACK
    assert "0.40 of its time where contents come again within a burst" in refused.message


@pytest.mark.parametrize("events_us", [70.0, 100.0, 130.0])
def test_a_fair_share_of_the_time_of_new_contents_is_no_reason(events_us):
    samples, found, refused, _ = concluded(timing(events_us, clock_us=events_us, new_us=100.0))
    assert (found, refused) == (samples, None)


@pytest.mark.parametrize(
    "first", [SPARING, timing(clock_us=1.0)], ids=["quicker", "with what emptying takes found too long"]
)
def test_who_was_quicker_for_a_moment_is_not_refused(first):
    samples, found, refused = concluded_in_two_looks([first] * 2, [timing()] * 8)
    assert (found, refused) == (samples, None)


@pytest.mark.parametrize(
    "long",
    [
        timing(events_us=100.0, clock_us=104.0, new_us=400.0),
        timing(events_us=60.0, clock_us=64.0, new_us=70.0),
    ],
    ids=["a host that is slow with what it has not touched", "a host that is woken late in short bursts"],
)
def test_a_host_that_is_slow_where_contents_are_new_accuses_nobody(long):
    samples, found, refused = concluded_in_one_look([long] * 2)
    assert (found, refused) == (samples, None)


def test_what_events_cannot_resolve_accuses_nobody():
    assert concluded(timing(events_us=1.4, clock_us=2.0, new_us=3.0))[2] is None


def test_who_skips_whatever_comes_late_in_a_burst_is_found_by_its_results():
    wrong = Comparison(EvaluationStatus.INCORRECT_NUMERICAL, MATCHES.correctness, "off")
    arms = {"baseline": timing(), "candidate": timing()}
    samples = Samples({arm: [one] * 8 for arm, one in arms.items()}, PROCESS_RESOLUTION)
    _, refused = Bursts(arms, wrong).conclude(samples, None, {arm: Desk(arm) for arm in arms}, Overhead(0.0))
    assert refused is wrong


def test_a_clock_that_the_librarys_calls_beat_too_accuses_nobody():
    *_, refused, _ = concluded(timing(clock_us=1.0), baseline=timing(clock_us=1.0))
    assert refused is None


def test_one_late_answer_is_an_accident():
    arms = {"baseline": timing(), "candidate": timing()}
    samples = Samples({arm: [one] * 8 for arm, one in arms.items()}, PROCESS_RESOLUTION)
    samples.visits["candidate"][3] = timing(late_us=900.0)
    assert Bursts(arms).conclude(samples, None, {arm: Desk(arm) for arm in arms}, Overhead(0.0))[1] is None
