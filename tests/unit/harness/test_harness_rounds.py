"""What becomes of an arm that is slower where its inputs are new: the rounds decide, the timer is scripted."""

from random import Random
from types import SimpleNamespace

import pytest

from deep_agent.errors import HarnessFailed
from deep_agent.harness.answers.compare import Comparison
from deep_agent.harness.answers.stage import Desk, refusal
from deep_agent.harness.arms.arm import ArmFailed, CallTiming
from deep_agent.harness.timing.rounds import Protocol, Rounds
from deep_agent.harness.timing.timers import Overhead, refused_as_hack
from deep_agent.problem.trace import Correctness, EvaluationStatus

MATCHES = Comparison(EvaluationStatus.PASSED, Correctness(max_relative_error=0.0, max_absolute_error=0.0))
WRONG = Comparison(EvaluationStatus.INCORRECT_NUMERICAL, Correctness(), "off")
SHORT = Protocol(looks=(5,), checked_share=0.0, precise_at=0.1, with_twin=False)


class Timer:
    """Takes 100 us a call; on new inputs what the script says, `first_us` the first time."""

    resolution = 1e-4
    news_factor = 1.3

    def __init__(self, new_us: dict[str, float], first_us: float | None = None) -> None:
        self.new_us = new_us
        self.first_us = first_us
        self.n_looks = 0

    def overhead(self, desk):
        return Overhead(0.0)

    def visit(self, stage, desk, overhead, *, check):
        return CallTiming(wall_us=100.0, cpu_us=100.0), None

    def look(self, stage, desk, overhead, *, change):
        self.n_looks += 1
        if self.n_looks == 1 and self.first_us is not None:
            return self.first_us, 0
        return (self.new_us[desk.arm] if change == "all" else 100.0), 0

    def conclude(self, samples, stage, desks, overhead):
        return samples, None


class Stage:
    """Finds what it is told to find."""

    n_sets = 2

    def __init__(self, found: Comparison) -> None:
        self.found = found

    def check(self, desk, chosen, *, quick):
        return self.found


def measured(timer: Timer, found: Comparison = MATCHES):
    desks = {name: Desk(name) for name in ("baseline", "candidate")}
    return Rounds(Stage(found), desks, timer, Random(3), lambda: False).measure(SHORT, ("baseline",))[1]


def test_who_takes_as_long_on_new_inputs_is_looked_at_once():
    timer = Timer({"candidate": 101.0, "baseline": 100.0})
    assert measured(timer) is None
    assert timer.n_looks == 1


def test_who_takes_longer_on_new_inputs_is_refused():
    found = measured(Timer({"candidate": 250.0, "baseline": 100.0}))
    assert found is not None
    assert found.status is EvaluationStatus.REWARD_HACK
    assert "2.5 times as long" in found.message


def test_one_slow_look_is_an_accident():
    assert measured(Timer({"candidate": 100.0, "baseline": 100.0}, first_us=900.0)) is None


@pytest.mark.parametrize(("slower", "is_refused"), [(1.0, False), (1.29, False), (1.31, True)])
def test_where_the_library_is_slower_on_new_inputs_too_only_more_than_that_counts(slower, is_refused):
    library_us = 150.0
    found = measured(Timer({"candidate": slower * library_us, "baseline": library_us}))
    assert (found is not None) == is_refused


def test_what_it_made_of_new_inputs_is_checked():
    assert measured(Timer({"candidate": 100.0, "baseline": 100.0}), WRONG) is WRONG


DAMAGED = refused_as_hack("it changed its inputs")


class Answers(Stage):
    """Finds what the script says, one check after the other."""

    workload = SimpleNamespace(uuid="one")

    def __init__(self, *founds: Comparison) -> None:
        self.founds = list(founds)
        self.checked: list[str] = []

    def call(self, desk, flush, *, index=None):
        return CallTiming(1.0, 1.0), 0

    def check(self, desk, chosen, *, quick):
        self.checked.append(desk.arm.name)
        return self.founds.pop(0) if self.founds else MATCHES


def warm(stage: Answers, *, hostile: bool = True) -> None:
    names = ("baseline", "candidate", "twin")
    confinement = {"candidate": ("user namespace",) if hostile else ()}
    desks = {name: Desk(SimpleNamespace(name=name, confinement=confinement.get(name, ()))) for name in names}
    Rounds(stage, desks, Timer({}), Random(3), lambda: False).warm()


def test_the_librarys_arms_show_that_they_are_right_before_they_are_timed():
    stage = Answers()
    warm(stage)
    assert stage.checked == ["baseline", "twin"]


def test_a_library_that_misses_its_tolerance_once_is_asked_again():
    stage = Answers(WRONG)
    warm(stage)
    assert stage.checked == ["baseline", "baseline", "twin"]


@pytest.mark.parametrize(("found", "hostile"), [(WRONG, True), (WRONG, False), (DAMAGED, False)])
def test_a_library_that_is_wrong_is_the_judges_fault(found, hostile):
    with pytest.raises(HarnessFailed, match="the library's own call is wrong on 'one'"):
        warm(Answers(found, found), hostile=hostile)


def test_who_damages_what_all_arms_share_is_refused_and_not_the_library():
    with pytest.raises(ArmFailed, match="it damaged memory of other arms: it changed its inputs") as refused:
        warm(Answers(MATCHES, DAMAGED, DAMAGED))
    assert refusal(refused.value).status is EvaluationStatus.REWARD_HACK
