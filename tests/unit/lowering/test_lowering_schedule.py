import itertools

import pytest
from builders import make_device
from hypothesis import given
from hypothesis import strategies as st
from lowering_builders import definition, rmsnorm_graph, softmax_graph, weight_gradient_graph
from pydantic import ValidationError

from deep_agent.lowering.cpp import lower
from deep_agent.lowering.expression import RowProgram
from deep_agent.lowering.plan import plan
from deep_agent.lowering.rows import recognise
from deep_agent.lowering.schedule import Schedule, default_points, schedule_from, search_space
from deep_agent.problem.dtype import DType

GRAPHS = {
    "softmax": softmax_graph(), "rmsnorm": rmsnorm_graph(), "rmsnorm_bfloat16": rmsnorm_graph(DType.BFLOAT16),
    "weight_gradient": weight_gradient_graph(),
}  # fmt: skip


def program(name: str) -> RowProgram:
    found = recognise(GRAPHS[name])
    assert isinstance(found, RowProgram)
    return found


def names(name: str, **device: int) -> set[str]:
    return {parameter.name for parameter in search_space(program(name), make_device(**device))}


def test_only_what_matters_for_a_program_is_searched():
    assert "exp" in names("softmax")
    assert "exp" not in names("rmsnorm")
    assert "row_cache" not in names("rmsnorm")
    assert "row_cache" in names("rmsnorm_bfloat16")
    assert "streaming_stores" not in names("weight_gradient")
    assert "threads" not in names("softmax")
    assert "threads" in names("softmax", n_threads=4)
    assert "lanes" not in names("softmax", vector_bytes=32)
    assert "lanes" in names("softmax", vector_bytes=64)


@pytest.mark.parametrize("name", GRAPHS)
def test_seeds_lie_in_the_space_and_differ(name: str):
    device = make_device(n_threads=2, vector_bytes=64)
    space = {parameter.name: parameter.choices for parameter in search_space(program(name), device)}
    seeds = default_points(program(name), device)
    assert 2 <= len(seeds) <= 4
    for seed in seeds:
        assert set(seed) == set(space)
        assert all(value in space[key] for key, value in seed.items())
    assert all(a != b for a, b in itertools.combinations(seeds, 2))
    assert schedule_from(seeds[0]).threads == 2


@given(st.sampled_from(sorted(GRAPHS)), st.randoms(use_true_random=False))
def test_every_point_has_a_schedule_and_a_kernel(name: str, rng):
    made = program(name)
    point = {
        parameter.name: rng.choice(parameter.choices)
        for parameter in search_space(made, make_device(n_threads=4, vector_bytes=64))
    }
    schedule = schedule_from(point)
    assert all(getattr(schedule, key) == value for key, value in point.items())
    text = lower(made, schedule, definition=definition(GRAPHS[name]), name="k").sources[0].content
    assert text.count("{") == text.count("}")
    assert "__tvm_ffi_run" in text


@pytest.mark.parametrize("point", [{"rows_together": 9}, {"row_cache": "some"}, {"tiles": 4}])
def test_a_point_outside_every_space_is_refused(point):
    with pytest.raises(ValidationError):
        schedule_from(point)


def test_each_pass_asks_for_its_share_of_the_next_row():
    (loop,) = program("rmsnorm").loops
    sweeps = [sweep for part in plan(loop, "recompute").passes for sweep in part.sweeps]
    first = sorted(node for sweep in sweeps for node in sweep.first_loads)
    assert sorted(node for sweep in sweeps for node in sweep.shared_loads) == first
    assert max(len(sweep.shared_loads) for sweep in sweeps) <= -(-len(first) // len(sweeps))


def test_kept_exponentials_are_computed_once():
    (loop,) = program("softmax").loops
    computed = {
        policy: sum(
            loop.node(n).op == "exp_falling" for part in plan(loop, policy).passes for s in part.sweeps for n in s.nodes
        )
        for policy in ("recompute", "costly", "all")
    }
    assert computed == {"recompute": 2, "costly": 1, "all": 1}


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("policy", ["recompute", "costly", "all"])
def test_a_pass_uses_only_what_it_computes_or_finds_in_scratch(name: str, policy):
    (loop,) = program(name).loops
    kept: set[int] = set()
    for part in plan(loop, policy).passes:
        for sweep in part.sweeps:
            assert set(sweep.cached) <= kept
            have = set(sweep.nodes) | set(sweep.cached)
            assert all(
                arg in have for n in sweep.nodes for arg in loop.node(n).args if loop.node(arg).space.has_columns
            )
            kept |= set(sweep.kept)


def test_a_kernel_says_its_schedule_and_is_equal_for_equal_schedules():
    graph, made = softmax_graph(), program("softmax")
    one, two = (lower(made, Schedule(unroll=4), definition=definition(graph), name=name) for name in ("a", "b"))
    assert one.content_hash == two.content_hash
    assert "unroll=4" in one.sources[0].content
    assert one.spec.entry_point == "kernel.cpp::run"
    assert one.spec.binding == "tvm-ffi"


def test_a_graph_of_one_binding_makes_a_kernel_that_checks_it():
    graph = softmax_graph(symbolic=False)
    found = recognise(graph)
    assert isinstance(found, RowProgram)
    text = lower(found, Schedule(), definition=definition(graph), name="k").sources[0].content
    assert "if (a.n_rows != 6)" in text
