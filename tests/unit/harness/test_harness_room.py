"""Which benches a judge lets go of for a new one, and what a bench is said to hold."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from builders import make_problem, make_workload

from deep_agent.errors import HarnessFailed, InvalidInput
from deep_agent.harness import benches as benches_module
from deep_agent.harness.arms.places import Host
from deep_agent.harness.bench import Bench
from deep_agent.harness.benches import Benches, beyond, require_room
from deep_agent.harness.judge import DeviceJudge
from deep_agent.ports import ignore_progress
from deep_agent.problem.evaluation import BaselineChoice
from deep_agent.problem.footprint import workload_bytes

GIB = 2**30


def bench(index, gib, *, arms=0, arm_bytes=0):
    """A bench by what it holds, without a process or a buffer behind it."""
    made = object.__new__(Bench)
    made.problem = SimpleNamespace(name="made")
    made.hidden = ()
    made.lock = threading.Lock()
    made.stages = {"one": SimpleNamespace(shared_bytes=gib * GIB, close=lambda: None)}
    made._workplace = SimpleNamespace(place=SimpleNamespace(index=index, arm_bytes=arm_bytes, trim=lambda: None))
    desk = SimpleNamespace(output_bytes=0)
    made._arms = [SimpleNamespace(desks={"one": desk}, close=lambda: None) for _ in range(arms)]
    made._twins = {}
    return made


def keeping(**kept):
    """Keep these benches, the least recently used first."""
    made = Benches(threading.Lock())
    made._kept.update(kept)
    return made


def using(kept, made):
    """Use a bench that is found at once."""
    return kept._used(lambda: made, ignore_progress)


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


def test_kept_keep_to_share_in_their_own_memory_alone():
    kept = keeping(first=bench(0, 20), other=bench(1, 20), host=bench(None, 20), new=bench(0, 20))
    first = kept._kept["first"]
    kept._keep_to_share(SimpleNamespace(index=0, memory_bytes=80 * GIB))
    assert list(kept._kept) == ["other", "host", "new"]
    assert first.is_closed


def test_a_large_device_keeps_what_a_small_host_could_not():
    kept = keeping(first=bench(1, 20), new=bench(1, 20))
    kept._keep_to_share(SimpleNamespace(index=1, memory_bytes=140 * GIB))
    assert list(kept._kept) == ["first", "new"]


def test_a_bench_in_use_makes_room_once_that_ends():
    kept = keeping(first=bench(0, 20), new=bench(0, 20))
    first = kept._kept["first"]
    with using(kept, first):
        kept._keep_to_share(SimpleNamespace(index=0, memory_bytes=80 * GIB))
        assert list(kept._kept) == ["new"]
        assert not first.is_closed
    assert first.is_closed
    assert not first.lock.locked()


def test_a_bench_has_one_user_at_a_time_and_the_last_one_closes_it():
    kept = keeping(shared=bench(0, 1), new=bench(0, 1))
    shared = kept._kept["shared"]
    users, most = [], []

    def use(number):
        with using(kept, shared):
            users.append(number)
            time.sleep(0.005)
            most.append(len(users))
            users.remove(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(8)))
    assert most == [1] * 8
    assert not shared.is_closed
    del kept._kept["shared"]
    with using(kept, shared):
        pass
    assert shared.is_closed


def test_where_a_bench_ended_meanwhile_another_is_found():
    kept = keeping(new=bench(0, 1))
    ended = bench(0, 1)
    ended.close()
    found = iter([ended, ended, kept._kept["new"]])
    with kept._used(lambda: next(found), ignore_progress) as used:
        assert used is kept._kept["new"]
    assert not ended.lock.locked()
    assert not used.lock.locked()


def test_a_bench_on_which_anything_broke_is_closed_and_kept_no_longer():
    kept = keeping(broken=bench(0, 1), other=bench(0, 1))
    broken = kept._kept["broken"]
    with pytest.raises(HarnessFailed, match="arm broke"), using(kept, broken), kept._device:
        raise HarnessFailed("the baseline's arm broke")
    assert list(kept._kept) == ["other"]
    assert broken.is_closed
    assert not kept._device.locked()
    assert not broken.lock.locked()


def test_a_bench_on_which_nothing_broke_is_kept_and_one_that_is_not_kept_ends_with_its_use():
    kept, own = keeping(whole=bench(0, 1)), bench(0, 1)
    for made, is_closed in ((kept._kept["whole"], False), (own, True)):
        with using(kept, made):
            pass
        assert made.is_closed == is_closed


def test_a_bench_whose_memory_cannot_be_given_back_serves_nobody_again():
    made = bench(0, 1)

    def fail():
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    made.stages["one"].close = fail
    with pytest.raises(RuntimeError):
        made.close()
    assert made.is_closed


@pytest.mark.parametrize(("gib", "left"), [(30, ["first", "search"]), (45, ["search"]), (75, [])])
def test_a_verification_that_needs_the_room_has_benches_go_and_the_searchs_own_last(gib, left):
    kept = keeping(first=bench(0, 10), other=bench(1, 70), search=bench(0, 30))
    kept._give_way(SimpleNamespace(index=0, memory_bytes=80 * GIB), gib * GIB)
    assert [name for name in kept._kept if name != "other"] == left
    assert not kept._kept["other"].is_closed


def test_workloads_that_fit_one_by_one_and_not_together_are_refused_by_name():
    problem = make_problem(*(make_workload(f"w{number}", rows=2**20) for number in range(5)))
    one_bytes = workload_bytes(problem.definition, problem.workloads[0])
    place = SimpleNamespace(memory_bytes=9 * one_bytes, n_sets=lambda set_bytes: 2)
    with pytest.raises(InvalidInput, match=r"the 5 workloads of 'double' hold at least .* GiB .* Judge fewer"):
        require_room(problem, place)
    place.memory_bytes = 10 * one_bytes
    require_room(problem, place)


@pytest.mark.parametrize("failure", ["", "RuntimeError: CUDA out of memory"])
def test_a_verification_without_the_best_baseline_of_the_search_is_none(monkeypatch, failure):
    made, search = bench(0, 1), bench(0, 1)
    search.best = {"one": SimpleNamespace(source=SimpleNamespace(name="torch_compile"))}
    made._arms = [
        SimpleNamespace(
            source=SimpleNamespace(name="torch_compile", solution=None), time_us={}, failure=failure, close=lambda: None
        )
    ]
    chosen = []

    def set_up(workplace, problem, progress, *, choice=None):
        chosen.append(choice)
        return made

    monkeypatch.setattr(benches_module, "Bench", set_up)
    problem, workplace = make_problem(), SimpleNamespace(place=Host())
    lent = keeping(**{benches_module._key(problem, "cpu"): search}).lend_new(workplace, problem, "cpu", ignore_progress)
    if failure:
        with (
            pytest.raises(HarnessFailed, match=r"best baselines of 'double': torch_compile \(RuntimeError: CUDA"),
            lent,
        ):
            pass
    else:
        with lent as found:
            assert found is made
    assert made.is_closed
    assert chosen == [BaselineChoice(names=("torch_compile",))]


@pytest.mark.parametrize(("device", "cpu_s"), [("cpu", 600 + 2 * 120), ("cpu:8", 600 + 16 * 120)])
def test_an_arm_has_processor_time_for_every_workload_and_thread(device, cpu_s):
    made = object.__new__(DeviceJudge)
    made._opening = threading.Lock()
    made._zygote, made._memory_bytes, made._equipment = None, None, {device: (Host(), None)}
    workplace = made._workplace(make_problem(make_workload("a"), make_workload("b")), device)
    assert workplace.limits.cpu_s == cpu_s
