"""What the kernel's account of processor time says of calls on a processor."""

import pytest

from deep_agent.harness.arms.arm import CallTiming
from deep_agent.harness.timing.samples import Samples
from deep_agent.harness.timing.timers import CallTimer, Overhead
from deep_agent.problem.trace import EvaluationStatus


def audited(visits: list[CallTiming], n_threads: int = 1):
    timer = CallTimer(lambda: None, n_threads)
    samples = Samples({"baseline": [CallTiming(300.0, 300.0)] * len(visits), "candidate": visits})
    return timer.conclude(samples, None, {}, Overhead(0.0))[1]


def visits(idle_us: list[float]) -> list[CallTiming]:
    return [CallTiming(wall_us=400.0, cpu_us=360.0, idle_us=idle) for idle in idle_us]


@pytest.mark.parametrize(
    ("idle_us", "is_refused"),
    [
        ([10.0] * 5, False),
        ([1500.0, 10.0, 10.0, 10.0, 10.0], False),
        ([1500.0, 10.0, 10.0, 1500.0, 10.0], True),
        ([300.0] * 5, True),
        ([2000.0, 10.0, 10.0, 10.0], True),
        ([2500.0, 10.0, 10.0, 10.0, 10.0, 2500.0, 10.0, 10.0, 10.0, 10.0], False),
        ([2500.0, 2500.0, 10.0, 10.0, 10.0, 2500.0, 10.0, 10.0, 10.0, 10.0], True),
    ],
    ids=["rests", "halts once", "works twice", "works a little always", "once in four", "a fifth", "more than a fifth"],
)
def test_work_between_calls_is_refused_where_a_figure_could_gain_by_it(idle_us, is_refused):
    refused = audited(visits(idle_us))
    assert (refused is not None) == is_refused
    if refused is not None:
        assert refused.status is EvaluationStatus.REWARD_HACK
        assert "between calls" in refused.message


@pytest.mark.parametrize(("n_threads", "is_refused"), [(1, True), (4, False)])
def test_a_team_of_threads_may_wait_for_more_work(n_threads, is_refused):
    assert (audited(visits([500.0] * 5), n_threads) is not None) == is_refused


def test_other_threads_on_a_device_of_one_are_refused():
    refused = audited([CallTiming(400.0, 390.0, others_us=350.0)] * 5)
    assert refused is not None
    assert "other threads worked" in refused.message


def test_more_processors_than_the_device_has_are_refused():
    refused = audited([CallTiming(100.0, 900.0)] * 5, n_threads=4)
    assert refused is not None
    assert "9.0 processors where the device has 4" in refused.message
