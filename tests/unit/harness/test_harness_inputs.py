"""Inputs by the public benchmark's rules, and by ours."""

import gc
from random import Random
from types import SimpleNamespace

import psutil
import pytest
import torch

from deep_agent.errors import InvalidInput, ResourceExhausted
from deep_agent.harness.answers.input_sets import make_input_set
from deep_agent.harness.answers.inputs import DISTRIBUTIONS, Case, make_inputs
from deep_agent.harness.answers.reference import Reference
from deep_agent.harness.answers.stage import Stage, set_stage
from deep_agent.harness.arms.places import Host
from deep_agent.problem.definition import Definition
from deep_agent.problem.dtype import DType
from deep_agent.problem.workload import Workload


def reference_of(inputs, body="    return x + 0", axes=None, extra="", **more):
    definition = {
        "name": "made",
        "axes": axes or {"n": {"type": "var"}, "m": {"type": "const", "value": 64}},
        "inputs": inputs,
        "outputs": {"y": {"shape": ["n", "m"], "dtype": "float32"}},
        "reference": f"import torch\n\n{extra}\ndef run({', '.join(inputs)}):\n{body}\n",
        **more,
    }
    return Reference(Definition.model_validate(definition))


def drawn(name, dtype="float32", shape=("n", "m"), distribution="natural", description=None):
    spec = {"shape": list(shape), "dtype": dtype, "description": description}
    reference = reference_of({name: spec}, body="    return 0")
    workload = Workload(uuid="w", axes={"n": 50})
    return make_inputs(reference, Case(workload, distribution), torch.Generator().manual_seed(1))[name]


def test_plain_floats_are_standard_normal():
    x = drawn("x")
    assert abs(float(x.mean())) < 0.1
    assert abs(float(x.std()) - 1) < 0.1


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("input_norm_weight", lambda x: bool((x == 1).all())),
        ("norm2_bias", lambda x: bool((x == 0).all())),
        ("norm_bias", lambda x: bool((x == 0).all())),
        ("drop_mask", lambda x: set(x.unique().tolist()) == {0.0, 1.0}),
        ("cos", lambda x: bool((x.abs() <= 1).all())),
        ("rstd", lambda x: bool((x >= 0.1).all())),
        ("running_var", lambda x: bool((x >= 0.1).all())),
        ("A_log", lambda x: bool(((x >= -5) & (x <= -1)).all())),
        ("routing_weights", lambda x: torch.allclose(x.sum(-1), torch.ones(50), atol=1e-5)),
        ("gate_proj", lambda x: 0.1 < float(x.std()) < 0.15),
        ("A_cumsum", lambda x: bool((x.diff(dim=-1) <= 0).all())),
    ],
)
def test_names_steer_the_draw(name, check):
    assert check(drawn(name))


def test_a_causal_mask_is_minus_the_largest_above_the_diagonal():
    mask = drawn("causal_mask", shape=("m", "m"))
    assert bool((mask.tril() == 0).all())
    assert float(mask[0, 1]) == torch.finfo(torch.float32).min


@pytest.mark.parametrize(
    ("dtype", "low", "high"), [("int8", -128, 127), ("int32", -1024, 1023), ("int64", -1024, 1023)]
)
def test_integers_stay_in_their_range(dtype, low, high):
    x = drawn("x", dtype)
    assert low <= int(x.min()) < int(x.max()) <= high


def test_random_float64_is_refused_as_upstream_does():
    with pytest.raises(InvalidInput, match="float64"):
        drawn("x", "float64")


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_every_distribution_is_finite_and_of_its_own_kind(distribution):
    x = drawn("x", distribution=distribution)
    assert bool(torch.isfinite(x).all())
    if distribution != "natural":
        assert not torch.equal(x, drawn("x"))


def test_names_with_a_meaning_keep_it_under_every_distribution():
    assert torch.equal(drawn("running_var", distribution="heavy"), drawn("running_var"))


@pytest.mark.parametrize("distribution", [one for one in DISTRIBUTIONS if one != "natural"])
@pytest.mark.parametrize(("name", "centre"), [("norm_weight", 1.0), ("norm2_bias", 0.0)])
def test_what_is_one_number_throughout_is_not_where_values_are_hard(name, centre, distribution):
    found = drawn(name, distribution=distribution)
    assert abs(float(found.mean()) - centre) < 0.05
    assert float(found.std()) > 0.1


def test_scalars_keep_their_type_and_custom_inputs_come_from_the_definition():
    reference = reference_of(
        {"x": {"shape": ["n", "m"], "dtype": "float32"}},
        extra="def make(axes, device):\n    return {'x': torch.full((axes['n'], 64), 7.0)}\n",
        custom_inputs_entrypoint="make",
    )
    workload = Workload.model_validate({"uuid": "w", "axes": {"n": 2}, "inputs": {"x": {"type": "custom"}}})
    made = make_inputs(reference, Case(workload), torch.Generator().manual_seed(1))
    assert torch.equal(made["x"], torch.full((2, 64), 7.0))


def test_a_generator_of_the_wrong_shape_is_named():
    reference = reference_of(
        {"x": {"shape": ["n", "m"], "dtype": "float32"}},
        extra="def make(axes, device):\n    return {'x': torch.zeros(3)}\n",
        custom_inputs_entrypoint="make",
    )
    workload = Workload.model_validate({"uuid": "w", "axes": {"n": 2}, "inputs": {"x": {"type": "custom"}}})
    with pytest.raises(InvalidInput, match="declared"):
        make_inputs(reference, Case(workload), torch.Generator())


def test_the_double_precision_run_keeps_no_lower_precision_on_the_way():
    body = "    h = x.float()\n    w = torch.ones(64, dtype=torch.bfloat16)\n    return (h * w).to(torch.bfloat16)"
    reference = reference_of({"x": {"shape": ["n", "m"], "dtype": "bfloat16"}}, body=body)
    x = torch.randn(4, 64).bfloat16()
    (found,) = reference.in_double([x])
    assert found.dtype == torch.float64
    assert torch.equal(found, x.double())


def test_what_the_reference_raises_is_told_with_its_line():
    reference = reference_of({"x": {"shape": ["n", "m"], "dtype": "float32"}}, body="    return x @ x")
    with pytest.raises(InvalidInput, match="line 5 of the reference"):
        reference([torch.zeros(3, 64)])


class Reachable(Host):
    """Memory that arms could write to, as a card's is."""

    index = 0


def reachable_stage(dtype="float32", n_sets=1):
    """Give the first input set of a stage, and the stage."""
    reference = reference_of({"x": {"shape": ["n", "m"], "dtype": dtype}})
    workload = Workload(uuid="w", axes={"n": 50})
    place, chance = Reachable(), Random(1)
    sets = [make_input_set(reference, Case(workload), chance, place) for _ in range(n_sets)]
    return sets[0], Stage(reference, workload, sets, chance, place)


class Unasked:
    """A desk whose outputs are poisoned, and nothing else of it matters."""

    def __init__(self, stage):
        self.slots = [SimpleNamespace(outputs=outputs) for outputs in stage._common_outputs]


def values_of(stage):
    return torch.cat([inputs.region.tensors["x"].view(-1) for inputs in stage._sets])


def test_what_an_arm_does_to_the_inputs_shows_and_is_undone():
    inputs, stage = reachable_stage()
    before = inputs.region.content.clone()
    for place in (0, inputs.region.placements["x"].offset + 3, inputs.region.n_bytes - 1):
        assert inputs.is_untouched()
        inputs.region.content[place] ^= 1
        assert not inputs.is_untouched()
        stage.restore()
        assert torch.equal(inputs.region.content, before)
    stage.close()


def test_blocks_that_move_are_the_judges_own():
    inputs, stage = reachable_stage()
    inputs.region.tensors["x"].zero_()
    for seed in range(2000):
        inputs.exchange(inputs, Random(seed))
    assert not inputs.is_untouched()
    assert float(inputs.region.tensors["x"].abs().max()) > 0
    stage.restore()
    assert inputs.is_untouched()
    assert not (inputs.region.tensors["x"] == 0).any()
    stage.close()


GENERATOR = """
def make(axes, device):
    size = axes["n"]
    factor = torch.randn(size, size)
    return {"a": factor @ factor.T + size * torch.eye(size), "edges": torch.randn(size).sort().values}
"""


def custom_stage():
    shapes = {"a": ["n", "n"], "edges": ["n"]}
    reference = reference_of(
        {name: {"shape": shape, "dtype": "float32"} for name, shape in shapes.items()},
        axes={"n": {"type": "var"}},
        outputs={"y": {"shape": ["n", "n"], "dtype": "float32"}},
        body="    return torch.linalg.cholesky(a) + edges",
        extra=GENERATOR,
        custom_inputs_entrypoint="make",
    )
    inputs = {name: {"type": "custom"} for name in shapes}
    workload = Workload.model_validate({"uuid": "w", "axes": {"n": 20}, "inputs": inputs})
    return set_stage(reference, Case(workload), Random(1), Host(), n_sets=3)


def is_sorted(values):
    return bool((values.diff() >= 0).all())


def test_what_a_generator_made_changes_as_a_whole_and_keeps_its_meaning():
    stage = custom_stage()
    first, seen = stage._sets[0].region.tensors, set()
    for number in range(200):
        stage._sets[number % 3].exchange(stage._sets[(number + 1) % 3], Random(number))
        assert is_sorted(first["edges"])
        assert torch.equal(first["a"], first["a"].T)
        seen.add((float(first["a"][0, 0]), float(first["edges"][0])))
    assert len(seen) == 3
    before = first["a"].clone()
    stage._sets[0].renew(Random(1))
    assert is_sorted(first["edges"])
    assert torch.equal(first["a"], first["a"].T)
    assert not torch.isin(first["a"], before).any()
    assert len(stage.expected(0)) == 1
    stage.close()


@pytest.mark.parametrize(("number", "moves"), [("3", True), ("float(torch.randn(()))", False)], ids=["same", "other"])
def test_inputs_of_a_generator_change_with_the_number_that_belongs_to_them_only(number, moves):
    reference = reference_of(
        {"x": {"shape": ["n", "m"], "dtype": "float32"}, "k": {"shape": None, "dtype": "float32"}},
        body="    return x * k",
        extra=f"def make(axes, device):\n    return {{'x': torch.randn(axes['n'], axes['m']), 'k': {number}}}\n",
        custom_inputs_entrypoint="make",
    )
    inputs = {name: {"type": "custom"} for name in ("x", "k")}
    workload = Workload.model_validate({"uuid": "w", "axes": {"n": 20}, "inputs": inputs})
    stage = set_stage(reference, Case(workload), Random(1), Host(), n_sets=2)
    first, second = stage._sets
    values = first.region.tensors["x"]
    for change in (lambda: first.exchange(second, Random(1)), lambda: first.renew(Random(1))):
        before = values.clone()
        change()
        assert torch.equal(values, before) is not moves
    stage.close()


def test_hard_values_are_gone_when_they_were_looked_at():
    inputs, stage = reachable_stage()
    before = inputs.region.tensors["x"].clone()
    with stage.under("heavy", 0):
        assert float(inputs.region.tensors["x"].abs().max()) > 40
        assert inputs.is_untouched()
    assert torch.equal(inputs.region.tensors["x"], before)
    assert inputs.is_untouched()
    stage.close()


@pytest.mark.parametrize("seed", range(8))
def test_of_renewed_inputs_no_row_is_what_any_row_was(seed):
    inputs, stage = reachable_stage()
    before = inputs.region.tensors["x"].clone()
    inputs.renew(Random(seed))
    after = inputs.region.tensors["x"]
    assert not {tuple(row) for row in before.tolist()} & {tuple(row) for row in after.tolist()}
    assert torch.equal(before.view(-1).sort().values, after.view(-1).sort().values)
    assert inputs.is_untouched()
    assert inputs.region.red_zones_intact()
    stage.close()


@pytest.mark.parametrize("dtype", [one.value for one in DType if one.bits >= 8 and one is not DType.FLOAT64])
def test_inputs_of_every_type_can_be_renewed(dtype):
    inputs, stage = reachable_stage(dtype)
    values = inputs.region.tensors["x"].view(torch.uint8)
    before = values.clone()
    inputs.renew(Random(4))
    assert inputs.is_untouched()
    if inputs.movable:
        assert not torch.equal(values, before)
        assert torch.equal(values.view(-1).sort().values, before.view(-1).sort().values)
    stage.close()


@pytest.mark.parametrize("dtype", [one.value for one in DType if one.bits >= 8 and one is not DType.FLOAT64])
def test_no_value_is_lost_or_comes_twice_however_often_blocks_change(dtype):
    inputs, stage = reachable_stage(dtype, n_sets=3)
    desk, before = Unasked(stage), values_of(stage).view(torch.uint8).view(3 * 50 * 64, -1)
    for number in range(3000):
        stage.prepare(desk, number % 3)
    after = values_of(stage).view(torch.uint8).view(3 * 50 * 64, -1)
    assert sorted(map(tuple, after.tolist())) == sorted(map(tuple, before.tolist()))
    assert torch.equal(after, before) == (not inputs.movable)
    assert all(one.is_untouched() for one in stage._sets)
    stage.close()


def test_what_inputs_add_up_to_changes_with_each_block():
    inputs, stage = reachable_stage(n_sets=2)
    desk, seen = Unasked(stage), set()
    for _ in range(50):
        stage.prepare(desk, 0)
        seen.add(float(inputs.region.tensors["x"].double().sum()))
    assert len(seen) == 50
    assert inputs.region.red_zones_intact()
    stage.close()


def test_damage_beside_common_outputs_does_not_meet_the_next_arm():
    _, stage = reachable_stage()
    outputs = stage._common_outputs[0]
    outputs.content[outputs.placements["y"].offset - 1] = 0
    assert not outputs.red_zones_intact()
    stage.restore()
    assert outputs.red_zones_intact()
    stage.close()


class Short(Host):
    """Memory that is full after so many buffers."""

    index = 0

    def __init__(self, n_regions):
        self.left = n_regions

    def region(self, specs, chance, *, sealed):
        self.left -= 1
        if self.left < 0:
            raise ResourceExhausted("no memory for buffers")
        return super().region(specs, chance, sealed=sealed)


def open_files():
    gc.collect()
    return psutil.Process().num_fds()


@pytest.mark.parametrize("n_regions", range(6))
def test_a_stage_that_cannot_be_set_leaves_no_memory_behind(n_regions):
    reference = reference_of({"x": {"shape": ["n", "m"], "dtype": "float32"}})
    before = open_files()
    with pytest.raises(ResourceExhausted):
        set_stage(reference, Case(Workload(uuid="w", axes={"n": 50})), Random(1), Short(n_regions), n_sets=3)
    assert open_files() == before


class Copyless(Host):
    """Memory for buffers, and none for the judge's copies of them."""

    index = 0

    def region(self, specs, chance, *, sealed):
        made = super().region(specs, chance, sealed=sealed)
        made.content = None
        return made


def test_inputs_that_cannot_be_copied_leave_no_memory_behind():
    reference = reference_of({"x": {"shape": ["n", "m"], "dtype": "float32"}})
    before = open_files()
    with pytest.raises(AttributeError):
        make_input_set(reference, Case(Workload(uuid="w", axes={"n": 50})), Random(1), Copyless())
    assert open_files() == before
