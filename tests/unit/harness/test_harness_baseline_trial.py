"""Which baseline is found to be the best, and what becomes of one that breaks: arms and timer are scripted."""

from collections import Counter
from math import inf
from random import Random
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep_agent.errors import HarnessFailed
from deep_agent.harness.answers.stage import Desk
from deep_agent.harness.arms.arm import ArmFailed, CallTiming
from deep_agent.harness.baseline_arms import BaselineArm
from deep_agent.harness.baseline_trial import time_side_by_side
from deep_agent.harness.bench import Bench
from deep_agent.harness.timing.timers import Overhead

MOST_VISITS = 27
"""Of a baseline that is timed to the end."""
AFTER_ONE_WORKLOAD = 12
"""Visits of the only baseline within reach: nine a workload."""


class Timer:
    """Takes as long as a name says; the named break at their visit of that number, 0 for the overhead."""

    resolution = 1e-4
    news_factor = 1.3

    def __init__(self, times_us: dict[str, float], breaks_at: dict[str, int] | None = None) -> None:
        self.times_us = times_us
        self.breaks_at = breaks_at or {}
        self.visits: Counter[str] = Counter()

    def _live(self, name: str) -> None:
        if self.visits[name] >= self.breaks_at.get(name, inf):
            raise ArmFailed("RuntimeError: CUDA error: out of memory")

    def overhead(self, desk):
        self._live(desk.arm)
        return Overhead(0.0)

    def visit(self, stage, desk, overhead, *, check):
        self.visits[desk.arm] += 1
        self._live(desk.arm)
        return CallTiming(wall_us=self.times_us[desk.arm], cpu_us=1.0), None


def entries(names, workloads=("one",)) -> list[BaselineArm]:
    source = {name: SimpleNamespace(name=name, solution=None) for name in names}
    arm = SimpleNamespace(close=lambda: None)
    return [BaselineArm(source[name], arm, {uuid: Desk(name) for uuid in workloads}) for name in names]


def stage(uuid="one"):
    return SimpleNamespace(workload=SimpleNamespace(uuid=uuid))


def bench(timer: Timer, arms: list[BaselineArm], workloads=("one",)) -> Bench:
    made = object.__new__(Bench)
    made.problem = SimpleNamespace(name="softmax")
    made.chance = Random(3)
    made.stages = {uuid: stage(uuid) for uuid in workloads}
    made.best = {}
    made._arms = arms
    made._workplace = SimpleNamespace(timer=timer)
    return made


def test_who_is_out_of_reach_is_timed_no_further_and_who_is_close_longer():
    timer = Timer({"eager": 100.0, "eager_out": 110.0, "torch_compile": 130.0, "library": 170.0})
    arms = entries(timer.times_us)
    time_side_by_side(timer, stage(), arms, Random(3))
    assert timer.visits == {"eager": MOST_VISITS, "eager_out": MOST_VISITS, "torch_compile": 9, "library": 3}
    assert {one.source.name: one.time_us["one"] for one in arms} == timer.times_us


@pytest.mark.parametrize("breaks_at", range(MOST_VISITS + 1))
def test_one_that_breaks_keeps_its_failure_and_the_others_their_times(breaks_at):
    timer = Timer({"eager": 100.0, "torch_compile": 99.0, "library": 98.0}, {"eager": breaks_at})
    arms = entries(timer.times_us)
    broken, *others = arms
    time_side_by_side(timer, stage(), arms, Random(3))
    assert (broken.failure, broken.time_us, broken.desks) == ("RuntimeError: CUDA error: out of memory", {}, {})
    assert all(one.time_us == one.quick_us == {"one": timer.times_us[one.source.name]} for one in others)
    assert timer.visits["eager"] == breaks_at


def test_the_best_is_one_that_runs_at_every_workload():
    timer = Timer({"eager": 100.0, "library": 50.0}, {"library": AFTER_ONE_WORKLOAD})
    made = bench(timer, entries(timer.times_us, ("one", "two")), ("one", "two"))
    made.time_baselines()
    told = {one.name: (set(one.time_us), one.failure) for one in made.baselines()}
    assert {uuid: best.source.name for uuid, best in made.best.items()} == {"one": "eager", "two": "eager"}
    assert told == {"eager": ({"one", "two"}, ""), "library": (set(), "RuntimeError: CUDA error: out of memory")}


def test_where_every_baseline_breaks_each_is_named_with_its_reason():
    timer = Timer({"eager": 100.0, "library": 50.0}, {"library": 4, "eager": 0})
    made = bench(timer, entries(timer.times_us))
    with pytest.raises(
        HarnessFailed, match=r"no baseline of 'softmax' runs: eager: .*out of memory; library: .*memory"
    ):
        made.time_baselines()


@given(
    times_us=st.dictionaries(st.sampled_from("abcde"), st.floats(1.0, 1000.0), min_size=1),
    broken=st.dictionaries(st.sampled_from("abcde"), st.integers(0, MOST_VISITS), max_size=4),
    seed=st.integers(),
)
def test_the_quickest_that_does_not_break_is_the_best(times_us, broken, seed):
    arms = entries(times_us)
    time_side_by_side(Timer(times_us, broken), stage(), arms, Random(seed))
    running = [one for one in arms if not one.failure]
    assert all(one.source.name in broken for one in arms if one.failure)
    assert all(one.time_us["one"] == times_us[one.source.name] for one in running)
    never_breaks = times_us.keys() - broken.keys()
    if never_breaks:
        best = min(running, key=lambda one: one.quick_us["one"])
        assert times_us[best.source.name] <= min(times_us[name] for name in never_breaks)
