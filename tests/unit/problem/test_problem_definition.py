import pytest
from problem_builders import REFERENCE, raw_definition
from pydantic import ValidationError

from deep_agent.problem.definition import Definition
from deep_agent.problem.dtype import DType


def refused(match, **changes):
    with pytest.raises(ValidationError, match=match):
        Definition.model_validate(raw_definition(**changes))


def test_a_plain_definition_is_read():
    definition = Definition.model_validate(raw_definition())
    sizes = definition.sizes({"rows": 4})
    assert definition.shape("x", sizes) == (4, 8)
    assert definition.storage_bytes("x", sizes) == 128


@pytest.mark.parametrize("field", ["name", "axes", "inputs", "outputs", "reference"])
def test_required_fields_are_required(field):
    raw = raw_definition()
    del raw[field]
    with pytest.raises(ValidationError, match=field):
        Definition.model_validate(raw)


@pytest.mark.parametrize("field", ["name", "op_type", "hf_id", "description"])
def test_empty_strings_are_refused_but_for_hf_id_and_description(field):
    if field in {"hf_id", "description"}:
        Definition.model_validate(raw_definition(**{field: ""}))
    else:
        refused(field, **{field: ""})


def test_an_empty_hf_id_is_absent():
    assert Definition.model_validate(raw_definition(hf_id="")).hf_id is None


@pytest.mark.parametrize(
    "reference",
    [
        "run = lambda x, weight: x",
        "async def run(x, weight):\n    return x",
        "class A:\n    def run(x, weight):\n        return x",
        "if True:\n    def run(x, weight):\n        return x",
    ],
)
def test_only_a_top_level_synchronous_def_counts_as_run(reference):
    refused("top-level `def run", reference=reference)


def test_a_reference_that_does_not_parse_names_its_line():
    refused("line 2", reference="import torch\ndef run(x, weight:\n")


@pytest.mark.parametrize("parameters", ["weight, x", "x", "x, weight, more"])
def test_run_takes_the_inputs_by_name_and_order(parameters):
    refused("same order", reference=f"def run({parameters}):\n    return x")


@pytest.mark.parametrize("parameters", ["x, /, weight", "x, weight=None", "x, weight, *more, key=1"])
def test_defaults_and_variadic_parameters_are_not_looked_at(parameters):
    Definition.model_validate(raw_definition(reference=f"def run({parameters}):\n    return x"))


@pytest.mark.parametrize("entry", ["absent", "not a name", "class"])
def test_the_entry_point_is_a_top_level_function(entry):
    refused("custom_inputs_entrypoint", custom_inputs_entrypoint=entry)


def test_an_existing_entry_point_is_accepted():
    reference = REFERENCE + "\n\ndef get_inputs(axes, device):\n    return {}\n"
    raw = raw_definition(reference=reference, custom_inputs_entrypoint="get_inputs")
    assert Definition.model_validate(raw).custom_inputs_entrypoint == "get_inputs"


def test_an_input_cannot_be_named_like_an_axis():
    refused("axes too", axes={"rows": {"type": "var"}, "hidden": {"type": "const", "value": 8}, "x": {"type": "var"}})


def test_inputs_and_outputs_are_disjoint():
    refused("inputs too", outputs={"x": {"shape": ["rows"], "dtype": "float32"}})


def test_shape_tokens_are_axes_or_decimal_literals():
    spec = {"shape": ["rows", "3"], "dtype": "float32"}
    definition = Definition.model_validate(raw_definition(outputs={"y": spec}))
    assert definition.shape("y", definition.sizes({"rows": 2})) == (2, 3)
    refused("'nowhere'", outputs={"y": {"shape": ["nowhere"], "dtype": "float32"}})


def test_a_0d_tensor_differs_from_a_python_scalar():
    outputs = {"y": {"shape": [], "dtype": "float32"}, "n": {"shape": None, "dtype": "int64"}}
    definition = Definition.model_validate(raw_definition(outputs=outputs))
    assert (definition.outputs["y"].is_scalar, definition.outputs["n"].is_scalar) == (False, True)
    assert (definition.storage_bytes("y", {}), definition.storage_bytes("n", {})) == (4, 0)


def test_expressions_see_const_var_and_earlier_expressions_in_order():
    axes = {
        "a": {"type": "expr", "expression": "rows * hidden"},
        "b": {"type": "expr", "expression": "a + 1"},
        "rows": {"type": "var"},
        "hidden": {"type": "const", "value": 8},
    }
    assert Definition.model_validate(raw_definition(axes=axes)).sizes({"rows": 3})["b"] == 25


@pytest.mark.parametrize("axis", [{"type": "const", "value": -1}, {"type": "expr", "expression": ""}, {"type": "new"}])
def test_bad_axes_are_refused(axis):
    refused("axes", axes={"rows": {"type": "var"}, "hidden": axis})


@pytest.mark.parametrize("dtype", list(DType))
def test_every_public_dtype_is_known(dtype):
    spec = {"y": {"shape": ["rows", "hidden"], "dtype": dtype.value}}
    definition = Definition.model_validate(raw_definition(outputs=spec))
    assert definition.storage_bytes("y", definition.sizes({"rows": 2})) == 16 * dtype.bits // 8


def test_unsigned_integers_are_refused():
    refused("dtype", outputs={"y": {"shape": ["rows"], "dtype": "uint8"}})
