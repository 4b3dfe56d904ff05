"""The problems this repository ships: each runs, keeps its declared form, and refuses an empty answer."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deep_agent.problem.axes import VarAxis
from deep_agent.problem.footprint import workload_bytes
from deep_agent.problem.readers import problem_directories, read_problem

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[3] / "problems"
NAMES = [directory.name for directory in problem_directories(ROOT)]
PROBLEMS = {name: read_problem(ROOT / name, "cpu", strict=True) for name in NAMES}
COMPUTE_BOUND = {"gemm_bias_gelu", "attention_causal", "attention_gqa"}
ODD = (3, 5, 7, 9, 11)


def small_axes(definition, sizes=ODD):
    free = [name for name, axis in definition.axes.items() if isinstance(axis, VarAxis)]
    return dict(zip(free, sizes, strict=False))


def references(definition):
    scope = {}
    exec(compile(definition.reference, definition.name, "exec"), scope)
    return scope


def drawn_inputs(definition, axes, seed):
    torch.manual_seed(seed)
    if definition.custom_inputs_entrypoint:
        made = references(definition)[definition.custom_inputs_entrypoint](axes, "cpu")
        return [made[name] for name in definition.inputs]
    return [drawn(name, definition, axes) for name in definition.inputs]


def drawn(name, definition, axes):
    tensor = torch.randn(definition.shape(name, axes))
    # What a saved deviation is: never negative, never zero.
    tensor = tensor.abs() + 0.1 if name == "rstd" else tensor
    return tensor.to(getattr(torch, definition.inputs[name].dtype.value))


def computed(definition, inputs):
    outputs = references(definition)["run"](*inputs)
    return outputs if isinstance(outputs, tuple) else (outputs,)


def matches(candidate, expected, tolerance):
    """The public rule, output by output."""
    if not torch.any(candidate.float() != 0) and torch.any(expected.float() != 0):
        return False
    error = (candidate.double() - expected.double()).abs()
    allowed = tolerance.max_atol + tolerance.max_rtol * expected.double().abs()
    capped = tolerance.max_error_cap is None or float(error.max()) <= tolerance.max_error_cap
    return capped and float((error <= allowed).double().mean()) >= tolerance.required_matched_ratio


def tolerances(name):
    kinds = ("cpu", "cuda")
    return {work.tolerance for kind in kinds for work in read_problem(ROOT / name, kind, strict=True).workloads}


def test_there_are_sixteen_and_each_folder_is_named_after_its_definition():
    assert len(NAMES) == 16
    assert [PROBLEMS[name].name for name in NAMES] == NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sizes", [ODD, (1, 1, 1, 1, 1), (2, 6, 1, 4, 3)])
def test_outputs_have_their_declared_form_at_any_size(name, sizes):
    definition = PROBLEMS[name].definition
    axes = definition.sizes(small_axes(definition, sizes))
    outputs = computed(definition, drawn_inputs(definition, axes, seed=1))
    for (output, spec), value in zip(definition.outputs.items(), outputs, strict=True):
        assert tuple(value.shape) == definition.shape(output, axes)
        assert value.dtype == getattr(torch, spec.dtype.value)
        assert torch.isfinite(value.double()).all()


@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_left_as_they_were(name):
    definition = PROBLEMS[name].definition
    axes = definition.sizes(small_axes(definition))
    inputs = drawn_inputs(definition, axes, seed=1)
    before = [tensor.clone() for tensor in inputs]
    computed(definition, inputs)
    assert all(torch.equal(old, new) for old, new in zip(before, inputs, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_outputs_follow_the_inputs_and_equal_inputs_give_equal_outputs(name):
    definition = PROBLEMS[name].definition
    axes = definition.sizes(small_axes(definition))
    one, again, other = (computed(definition, drawn_inputs(definition, axes, seed)) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_zeros_a_constant_and_a_copied_input_are_refused_output_by_output(name):
    definition = PROBLEMS[name].definition
    axes = definition.sizes(small_axes(definition))
    inputs = drawn_inputs(definition, axes, seed=1)
    for tolerance in tolerances(name):
        for expected in computed(definition, inputs):
            wrong = [torch.zeros_like(expected), torch.ones_like(expected)]
            wrong.append(torch.full_like(expected, float(expected.double().mean())))
            wrong.extend(tensor.to(expected.dtype) for tensor in inputs if tensor.shape == expected.shape)
            assert matches(expected, expected, tolerance)
            assert not any(matches(candidate, expected, tolerance) for candidate in wrong)


@pytest.mark.parametrize("name", NAMES)
def test_every_input_matters(name):
    definition = PROBLEMS[name].definition
    axes = definition.sizes(small_axes(definition))
    inputs, others = (drawn_inputs(definition, axes, seed) for seed in (1, 2))
    expected = computed(definition, inputs)
    for index, other in enumerate(others):
        changed = computed(definition, [*inputs[:index], other, *inputs[index + 1 :]])
        assert not all(torch.equal(a, b) for a, b in zip(expected, changed, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_laptop_workloads_exceed_the_cache_and_one_has_odd_sizes(name):
    problem = PROBLEMS[name]
    assert len(problem.workloads) == 3
    for work in problem.workloads:
        megabytes = workload_bytes(problem.definition, work) / 1e6
        assert megabytes < 100
        assert megabytes >= 48 or name in COMPUTE_BOUND
    assert any(all(size % 8 for size in work.axes.values() if size > 100) for work in problem.workloads)


@pytest.mark.parametrize("name", NAMES)
def test_gpu_workloads_are_several_and_one_has_odd_sizes(name):
    workloads = read_problem(ROOT / name, "cuda", strict=True).workloads
    assert 4 <= len(workloads) <= 6
    assert any(all(size % 8 for size in work.axes.values() if size > 100) for work in workloads)


@pytest.mark.parametrize("name", NAMES)
def test_single_precision_answers_stay_well_within_the_tolerance(name):
    """The reference's own rounding, against float64 arithmetic, leaves room for another order of sums."""
    definition = PROBLEMS[name].definition
    if name in {"argmax", "int8_block_quantize"} or any(s.dtype == "bfloat16" for s in definition.outputs.values()):
        pytest.skip("exact, or rounded to a narrower type")
    axes = definition.sizes(small_axes(definition, (4, 48, 64, 32, 16)))
    inputs = drawn_inputs(definition, axes, seed=3)
    exact = computed(definition, [t.double() if t.is_floating_point() else t for t in inputs])
    for tolerance in tolerances(name):
        for got, wanted in zip(computed(definition, inputs), exact, strict=True):
            tight = tolerance.model_copy(
                update={"max_atol": tolerance.max_atol / 2, "max_rtol": tolerance.max_rtol / 2}
            )
            assert matches(got, wanted.double(), tight)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 1000))
def test_rope_keeps_lengths_when_its_angles_are_real(heads, half, seed):
    definition = PROBLEMS["rope"].definition
    axes = definition.sizes({"batch": 1, "seq": 3, "heads": heads, "kv_heads": 1, "half": half})
    q, k, _, _ = drawn_inputs(definition, axes, seed)
    angle = torch.randn(3, half)
    turned, _ = computed(definition, [q.float(), k.float(), angle.cos(), angle.sin()])
    torch.testing.assert_close(turned.norm(dim=-1), q.float().norm(dim=-1), rtol=1e-4, atol=1e-4)
