"""Which baseline is found to be the best, and what becomes of one that breaks: arms and timer are scripted."""

from collections import Counter
from math import inf
from random import Random
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep_agent.errors import HarnessFailed
from deep_agent.harness import baseline_arms
from deep_agent.harness.answers.stage import Desk
from deep_agent.harness.arms.arm import ArmFailed, CallTiming
from deep_agent.harness.baseline_arms import BaselineArm, start_baseline
from deep_agent.harness.bench import Bench
from deep_agent.harness.timing.timers import Overhead

MOST_VISITS = 27
"""Of a baseline that is timed to the end."""


class Timer:
    """Takes as long as a name says; the named break at their visit of that number."""

    resolution = 1e-4
    news_factor = 1.3

    def __init__(self, times_us: dict[str, float], breaks_at: dict[str, int] | None = None) -> None:
        self.times_us = times_us
        self.breaks_at = breaks_at or {}
        self.visits: Counter[str] = Counter()

    def overhead(self, desk):
        return Overhead(0.0)

    def visit(self, stage, desk, overhead, *, check):
        self.visits[desk.arm] += 1
        if self.visits[desk.arm] >= self.breaks_at.get(desk.arm, inf):
            raise ArmFailed("Traceback:\nRuntimeError: CUDA error: out of memory")
        return CallTiming(wall_us=self.times_us[desk.arm], cpu_us=1.0), None


def bench(timer: Timer) -> Bench:
    made = object.__new__(Bench)
    made.problem = SimpleNamespace(name="softmax")
    made.chance = Random(3)
    made.stages = {uuid: SimpleNamespace(workload=SimpleNamespace(uuid=uuid)) for uuid in ("one", "two")}
    made.best = {}
    made._arms = [
        BaselineArm(SimpleNamespace(name=name, solution=None), arm(), {uuid: Desk(name) for uuid in made.stages})
        for name in timer.times_us
    ]
    made._workplace = SimpleNamespace(timer=timer)
    return made


def arm(closed=None):
    return SimpleNamespace(close=lambda: closed is not None and closed.append("closed"))


def test_who_is_out_of_reach_is_timed_no_further_and_who_is_close_longer():
    timer = Timer({"eager": 100.0, "eager_out": 110.0, "torch_compile": 130.0, "library": 170.0})
    made = bench(timer)
    made.time_baselines()
    a_workload = {name: n_visits / 2 for name, n_visits in timer.visits.items()}
    assert a_workload == {"eager": MOST_VISITS, "eager_out": MOST_VISITS, "torch_compile": 9, "library": 3}
    assert {one.name: one.time_us for one in made.baselines()} == {
        name: {"one": took_us, "two": took_us} for name, took_us in timer.times_us.items()
    }


@given(st.dictionaries(st.sampled_from("abcde"), st.floats(1.0, 1000.0), min_size=1))
def test_the_quickest_is_the_best(times_us):
    made = bench(Timer(times_us))
    made.time_baselines()
    assert {times_us[best.source.name] for best in made.best.values()} == {min(times_us.values())}


@pytest.mark.parametrize("breaks_at", [1, 9, 10, MOST_VISITS + 1])
def test_no_other_passes_for_the_best_where_one_breaks(breaks_at):
    made = bench(Timer({"eager": 100.0, "library": 99.0}, {"library": breaks_at}))
    with pytest.raises(HarnessFailed, match=r"a baseline of 'softmax' broke: library: RuntimeError: .*out of memory"):
        made.time_baselines()
    assert made.best == {}


def test_an_arm_that_its_bench_will_never_know_of_is_ended(monkeypatch):
    def break_off(*_, **__):
        raise KeyError("x")

    monkeypatch.setattr(baseline_arms, "load", break_off)
    closed: list[str] = []
    workplace = SimpleNamespace(fork=lambda confine: arm(closed), n_threads=1)
    with pytest.raises(KeyError):
        start_baseline(workplace, SimpleNamespace(name="eager", solution=None), None, {})
    assert closed == ["closed"]
