"""Which benches a judge lets go of for a new one, and what a bench is said to hold."""

import threading
from types import SimpleNamespace

import pytest

from deep_agent.errors import HarnessFailed
from deep_agent.harness.bench import Bench
from deep_agent.harness.characterization import require_open
from deep_agent.harness.judge import DeviceJudge, beyond

GIB = 2**30


def bench(index, gib, *, arms=0, arm_bytes=0):
    """A bench by what it holds, without a process or a buffer behind it."""
    made = object.__new__(Bench)
    made.problem = SimpleNamespace(name="made")
    made.hidden = ()
    made.stages = {"one": SimpleNamespace(shared_bytes=gib * GIB, close=lambda: None)}
    made._workplace = SimpleNamespace(place=SimpleNamespace(index=index, arm_bytes=arm_bytes))
    desk = SimpleNamespace(output_bytes=0)
    made._arms = [SimpleNamespace(desks={"one": desk}, close=lambda: None) for _ in range(arms)]
    made._twins = {}
    return made


def judge(**benches):
    """A judge that keeps these benches, the least recently used first."""
    made = object.__new__(DeviceJudge)
    made._benches = dict(benches)
    made._keys, made._device = threading.Lock(), threading.Lock()
    return made


def test_the_first_go_until_the_rest_fits_and_the_last_stays():
    held = [("a", 3), ("b", 4), ("c", 5)]
    assert beyond(held, 12) == ()
    assert beyond(held, 11) == ("a",)
    assert beyond(held, 5) == ("a", "b")
    assert beyond(held, 1) == ("a", "b")
    assert beyond([], 1) == ()


def test_a_bench_on_a_device_counts_its_arms_and_one_on_the_host_its_buffers():
    assert bench(0, 2, arms=3, arm_bytes=GIB).footprint_bytes == 5 * GIB
    assert bench(None, 2, arms=3).footprint_bytes == 2 * GIB


def test_a_failed_baseline_holds_nothing():
    made = bench(0, 2, arms=3, arm_bytes=GIB)
    made._arms[0].desks = {}
    assert made.footprint_bytes == 4 * GIB


def test_benches_make_room_in_their_own_memory_alone():
    kept = judge(first=bench(0, 20), other=bench(1, 20), host=bench(None, 20), new=bench(0, 20))
    first = kept._benches["first"]
    kept._make_room(SimpleNamespace(index=0, memory_bytes=80 * GIB))
    assert list(kept._benches) == ["other", "host", "new"]
    assert first.is_closed


def test_a_large_device_keeps_what_a_small_host_could_not():
    kept = judge(first=bench(1, 20), new=bench(1, 20))
    kept._make_room(SimpleNamespace(index=1, memory_bytes=140 * GIB))
    assert list(kept._benches) == ["first", "new"]


def test_a_bench_that_was_closed_meanwhile_is_refused_and_its_late_twin_ended():
    made = bench(0, 1)
    require_open(made)
    made.close()
    ended = []
    made._twins = {"eager": SimpleNamespace(desks={}, close=lambda: ended.append("twin"))}
    with pytest.raises(HarnessFailed, match="had to make room"):
        require_open(made)
    assert ended == ["twin"]


def test_a_bench_on_which_anything_broke_is_closed_and_kept_no_longer():
    kept = judge(broken=bench(0, 1), other=bench(0, 1))
    broken = kept._benches["broken"]
    with pytest.raises(HarnessFailed), kept._given_up_if_broken(broken), kept._device:
        raise HarnessFailed("the baseline's arm broke")
    assert list(kept._benches) == ["other"]
    assert broken.is_closed
    assert not kept._device.locked()


def test_a_bench_on_which_nothing_broke_is_kept():
    kept = judge(whole=bench(0, 1))
    with kept._given_up_if_broken(kept._benches["whole"]):
        pass
    assert not kept._benches["whole"].is_closed


def test_a_bench_whose_memory_cannot_be_given_back_serves_nobody_again():
    made = bench(0, 1)

    def fail():
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    made.stages["one"].close = fail
    with pytest.raises(RuntimeError):
        made.close()
    assert made.is_closed
