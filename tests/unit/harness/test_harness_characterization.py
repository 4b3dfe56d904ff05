"""What becomes of a characterization whose twin breaks: rounds are the judge's own, timer and stage are scripted."""

from contextlib import nullcontext
from random import Random
from types import SimpleNamespace

import pytest

from deep_agent.errors import HarnessFailed
from deep_agent.harness.answers.compare import Comparison
from deep_agent.harness.answers.stage import Desk
from deep_agent.harness.arms.arm import ArmFailed, CallTiming
from deep_agent.harness.characterization import characterized
from deep_agent.harness.timing.rounds import PROTOCOLS
from deep_agent.harness.timing.timers import Overhead
from deep_agent.problem.trace import Correctness, EvaluationStatus

MATCHES = Comparison(EvaluationStatus.PASSED, Correctness(max_relative_error=0.0, max_absolute_error=0.0))
ACCUSED = Comparison(EvaluationStatus.REWARD_HACK, Correctness(), "the device was still busy after the answer")
WRONG = Comparison(EvaluationStatus.INCORRECT_NUMERICAL, Correctness(), "y: element 0 is nan, expected 0.25")
BROKEN = Comparison(EvaluationStatus.TIMEOUT, Correctness(), "BURST took longer than 60 s and was killed.")
N_ROUNDS = PROTOCOLS["screen"].looks[0]


class Trusted(str):
    """An arm by its name."""

    __slots__ = ()
    confinement = ()


class Timer:
    """Takes 100 us a call; the twin breaks at a visit, or something is found when all are over."""

    resolution = 1e-4
    news_factor = 1.3

    def __init__(
        self, *, breaks_at: int | None = None, accused_at: int | None = None, concludes: Comparison | None = None
    ) -> None:
        self.breaks_at = breaks_at
        self.accused_at = accused_at
        self.concludes = concludes
        self.n_visits = 0

    def overhead(self, desk):
        return Overhead(0.0)

    def visit(self, stage, desk, overhead, *, check):
        found = None
        if desk.arm == "twin":
            if self.n_visits == self.breaks_at:
                raise ArmFailed("torch.OutOfMemoryError: CUDA out of memory")
            found = ACCUSED if self.n_visits == self.accused_at else None
            self.n_visits += 1
        return CallTiming(wall_us=100.0, cpu_us=100.0), found

    def look(self, stage, desk, overhead, *, change):
        return 100.0, 0

    def conclude(self, samples, stage, desks, overhead):
        return samples, self.concludes


class Stage:
    """Finds every result right; the twin may break when it is warmed."""

    n_sets = 2

    workload = SimpleNamespace(uuid="one")

    def __init__(self, *, breaks_warm: bool = False, is_wrong: str = "") -> None:
        self.breaks_warm = breaks_warm
        self.is_wrong = is_wrong

    def call(self, desk, change, *, index=None):
        if desk.arm == "twin" and self.breaks_warm:
            raise ArmFailed("it died by SIGSEGV")
        return CallTiming(1.0, 1.0), index

    def check(self, desk, chosen, *, quick):
        return WRONG if desk.arm == self.is_wrong else MATCHES


def characterize(timer: Timer, stage: Stage, seed: int = 3):
    bench = SimpleNamespace(
        problem=SimpleNamespace(name="softmax"),
        chance=Random(seed),
        stages={"one": stage},
        best={"one": SimpleNamespace(source=SimpleNamespace(name="eager"), desks={"one": Desk(Trusted("first"))})},
        twin=lambda uuid: SimpleNamespace(desks={uuid: Desk(Trusted("twin"))}),
        time_baselines=lambda: None,
        start_twins=lambda: None,
        baselines=lambda: (),
    )
    workplace = SimpleNamespace(timer=timer, place=SimpleNamespace(index=None))
    return characterized(workplace, bench, "cpu", nullcontext(), lambda step: None)


def test_a_twin_that_answers_gives_the_noise():
    found = characterize(Timer(), Stage()).noise
    assert (found.value, found.n_rounds) == (1.0, N_ROUNDS)


@pytest.mark.parametrize("n_visits", [0, 1, N_ROUNDS - 1])
def test_a_twin_that_breaks_in_a_round_is_named_with_its_reason(n_visits):
    with pytest.raises(HarnessFailed, match=r"the twin of eager of 'softmax' broke: .*out of memory.* Ask again"):
        characterize(Timer(breaks_at=n_visits), Stage())


def test_a_twin_that_breaks_before_the_first_round_is_named_with_its_reason():
    with pytest.raises(HarnessFailed, match=r"the twin of eager of 'softmax' broke: it died by SIGSEGV"):
        characterize(Timer(), Stage(breaks_warm=True))


@pytest.mark.parametrize("arm", ["first", "twin"])
def test_noise_of_a_library_that_answers_wrong_is_none(arm):
    with pytest.raises(HarnessFailed, match=r"the library's own call is wrong on 'one': y: element 0 is nan"):
        characterize(Timer(), Stage(is_wrong=arm))


def test_what_would_be_held_against_a_candidate_in_the_end_is_not_held_against_a_twin():
    assert characterize(Timer(concludes=ACCUSED), Stage()).noise.n_rounds == N_ROUNDS


def test_a_twin_that_breaks_after_its_rounds_is_named_too():
    with pytest.raises(HarnessFailed, match=r"the twin of eager of 'softmax' broke: BURST took longer"):
        characterize(Timer(concludes=BROKEN), Stage())


@pytest.mark.parametrize(("n_visits", "pairs"), [(0, set()), (2, {2})])
def test_rounds_that_end_early_give_the_noise_of_pairs_or_none(n_visits, pairs):
    outcomes = {outcome(Timer(accused_at=n_visits), seed) for seed in range(8)}
    told = "the twin of eager of 'softmax' broke: the device was still busy after the answer"
    assert outcomes == {told} | pairs


def outcome(timer: Timer, seed: int) -> int | str:
    """Give the rounds that the noise is of, or why there is none."""
    try:
        return characterize(timer, Stage(), seed).noise.n_rounds
    except HarnessFailed as failed:
        return failed.message
