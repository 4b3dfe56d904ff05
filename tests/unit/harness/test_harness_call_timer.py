"""What the kernel's account of processor time says of calls on a processor."""

from dataclasses import dataclass, replace
from random import Random

import pytest

from deep_agent.harness.answers.compare import Comparison
from deep_agent.harness.answers.stage import Desk
from deep_agent.harness.arms.arm import CallTiming
from deep_agent.harness.sandbox.wire import Verb
from deep_agent.harness.timing.samples import Samples
from deep_agent.harness.timing.timers import CallTimer, Overhead
from deep_agent.problem.trace import Correctness, EvaluationStatus


@dataclass
class Arm:
    """Has worked so long since its last answer."""

    idle_us: float
    confinement: tuple[str, ...] = ()

    def ask(self, verb: Verb, payload: object, *, timeout_s: float) -> CallTiming:
        assert (verb, payload) == (Verb.NOTHING, {})
        assert timeout_s > 0
        return CallTiming(50.0, 5.0, idle_us=self.idle_us)


def concluded(visits: list[CallTiming], *, n_threads: int = 1, after_us: float = 0.0):
    timer = CallTimer(lambda: None, n_threads, Random(1))
    samples = Samples({"baseline": [CallTiming(300.0, 300.0)] * len(visits), "candidate": visits})
    return timer.conclude(samples, None, {"candidate": Desk(Arm(after_us))}, Overhead(0.0))[1]


def visits(idle_us: list[float], cpu_us: float = 360.0) -> list[CallTiming]:
    return [CallTiming(wall_us=cpu_us + 40.0, cpu_us=cpu_us, idle_us=idle) for idle in idle_us]


@pytest.mark.parametrize(
    ("idle_us", "is_refused"),
    [
        ([10.0] * 5, False),
        ([180.0] * 5, False),
        ([200.0] * 5, True),
        ([1500.0, *[10.0] * 4], False),
        ([1500.0, *[10.0] * 3], True),
        ([3500.0, *[10.0] * 4], True),
        ([1500.0, 1500.0, *[10.0] * 3], True),
        ([1500.0, 1500.0, *[10.0] * 17], True),
        ([1500.0, 1500.0, *[10.0] * 18], False),
        ([1500.0] * 3 + [10.0] * 17, True),
    ],
    ids=[
        "rests",
        "a little",
        "a little more, always",
        "halts once",
        "halts once in four",
        "halts for too long",
        "twice in five",
        "twice in 19",
        "twice in 20",
        "three times in 20",
    ],
)
def test_work_between_calls_is_refused_but_for_a_halt(idle_us, is_refused):
    refused = concluded(visits(idle_us))
    assert (refused is not None) == is_refused
    if refused is not None:
        assert refused.status is EvaluationStatus.REWARD_HACK
        assert "between calls" in refused.message


@pytest.mark.parametrize("n_visits", [5, 8, 14, 30])
@pytest.mark.parametrize("call_us", [400.0, 3000.0, 30_000.0, 300_000.0])
@pytest.mark.parametrize("n_threads", [1, 4])
def test_visits_that_are_answered_early_are_no_more_than_the_figure_leaves_out(n_visits, call_us, n_threads):
    early = [CallTiming(wall_us=60.0, cpu_us=20.0, idle_us=call_us)]
    full = [CallTiming(wall_us=call_us, cpu_us=call_us, idle_us=10.0)]
    for n_early in range(n_visits // 5 + 1, n_visits + 1):
        refused = concluded(early * n_early + full * (n_visits - n_early), n_threads=n_threads)
        # What a team may wait for hides as much, in every visit.
        assert refused is not None or call_us <= 1000.0 * (n_threads > 1) / (1 - 0.25), n_early


def test_work_after_the_last_answer_counts_too():
    assert concluded(visits([10.0] * 4), after_us=1500.0) is not None
    assert concluded(visits([10.0, 1500.0, *[10.0] * 3]), after_us=1500.0) is not None
    assert concluded(visits([10.0] * 5), after_us=1500.0) is None


@pytest.mark.parametrize(("n_threads", "is_refused"), [(1, True), (4, False)])
def test_a_team_of_threads_may_wait_for_more_work(n_threads, is_refused):
    assert (concluded(visits([500.0] * 5), n_threads=n_threads) is not None) == is_refused


def test_other_threads_on_a_device_of_one_are_refused():
    refused = concluded([CallTiming(400.0, 390.0, others_us=350.0)] * 5)
    assert refused is not None
    assert "other threads worked" in refused.message


def test_more_processors_than_the_device_has_are_refused():
    refused = concluded([CallTiming(100.0, 900.0)] * 5, n_threads=4)
    assert refused is not None
    assert "9.0 processors where the device has 4" in refused.message


@pytest.mark.parametrize(("copy_us", "charged_us"), [(100.0, 0.0), (250.0, 0.0), (1250.0, 1000.0)])
@pytest.mark.parametrize("n_threads", [1, 4])
def test_work_in_copying_results_out_is_added_to_every_call(copy_us, charged_us, n_threads):
    timer, rests = CallTimer(lambda: None, n_threads, Random(1)), Arm(0.0)
    rests.confinement = ("held",)
    trusted = Arm(0.0)
    trusted.confinement = ()
    samples = Samples(
        {
            "baseline": [CallTiming(300.0, 300.0, copy_us=100.0)] * 5,
            "candidate": [CallTiming(300.0, 300.0, copy_us=copy_us)] * 5,
        }
    )
    desks = {"baseline": Desk(trusted, collects=True), "candidate": Desk(rests, collects=True)}
    samples, refused = timer.conclude(samples, None, desks, Overhead(0.0))
    assert refused is None
    assert samples.wall_us("candidate") == [300.0 + charged_us / n_threads] * 5
    assert samples.wall_us("baseline") == [300.0] * 5


class Calls:
    """A stage whose calls come one after the other, all short."""

    def __init__(self):
        self.n_calls, self.looked_at = 0, []

    def call(self, desk, flush):
        self.n_calls += 1
        return CallTiming(100.0, 100.0, idle_us=float(self.n_calls), others_us=float(self.n_calls)), 0

    def check(self, desk, chosen, *, quick):
        self.looked_at.append(self.n_calls)
        return Comparison(EvaluationStatus.PASSED, Correctness())


def test_of_a_confined_arms_short_calls_each_may_be_the_one_that_is_checked():
    timer, arm = CallTimer(lambda: None, 1, Random(1)), Arm(0.0)
    arm.confinement = ("held",)
    seen = set()
    for _ in range(200):
        stage = Calls()
        timing, wrong = timer.visit(stage, Desk(arm), Overhead(0.0), check=False)
        assert (stage.n_calls, len(stage.looked_at), wrong) == (9, 1, None)
        seen.update(stage.looked_at)
        assert timing.others_us == 5.0
    assert seen == set(range(1, 10))


def test_a_pause_before_a_visit_counts_whatever_those_within_it_are():
    class Paused(Calls):
        def call(self, desk, flush):
            timing, chosen = super().call(desk, flush)
            return replace(timing, idle_us=900.0 if self.n_calls == 1 else 1.0), chosen

    timer, arm = CallTimer(lambda: None, 1, Random(1)), Arm(0.0)
    arm.confinement = ("held",)
    assert timer.visit(Paused(), Desk(arm), Overhead(0.0), check=False)[0].idle_us == 900.0
