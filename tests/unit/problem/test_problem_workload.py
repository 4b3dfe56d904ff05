import pytest
from problem_builders import raw_workload
from pydantic import ValidationError

from deep_agent.problem.workload import ScalarInput, Workload


@pytest.mark.parametrize("field", ["uuid", "axes"])
def test_required_fields_are_required(field):
    raw = raw_workload()
    del raw[field]
    with pytest.raises(ValidationError, match=field):
        Workload.model_validate(raw)


@pytest.mark.parametrize("axes", [{"rows": -1}, {"rows": 1.5}, {"rows": "4"}, {"rows": True}])
def test_sizes_are_whole_numbers_from_zero(axes):
    with pytest.raises(ValidationError, match="rows"):
        Workload.model_validate(raw_workload(axes=axes))


@pytest.mark.parametrize("value", [3, 2.0, True])
def test_a_scalar_keeps_its_type(value):
    workload = Workload.model_validate(raw_workload(inputs={"n": {"type": "scalar", "value": value}}))
    descriptor = workload.inputs["n"]
    assert isinstance(descriptor, ScalarInput)
    assert type(descriptor.value) is type(value)


def test_a_safetensors_input_names_file_and_key():
    given = {"type": "safetensors", "path": "a.safetensors", "tensor_key": "x"}
    assert Workload.model_validate(raw_workload(inputs={"x": given})).inputs["x"].type == "safetensors"
    with pytest.raises(ValidationError, match="tensor_key"):
        Workload.model_validate(raw_workload(inputs={"x": {"type": "safetensors", "path": "a"}}))


def test_if_one_input_is_custom_all_must_be():
    Workload.model_validate(raw_workload(inputs={"x": {"type": "custom"}, "weight": {"type": "custom"}}))
    with pytest.raises(ValidationError, match="all must be"):
        Workload.model_validate(raw_workload(inputs={"x": {"type": "custom"}, "weight": {"type": "random"}}))


def test_an_explicit_null_tolerance_is_refused():
    with pytest.raises(ValidationError, match="tolerance"):
        Workload.model_validate(raw_workload(tolerance=None))


def test_a_tolerance_has_the_public_defaults():
    tolerance = Workload.model_validate(raw_workload(tolerance={})).tolerance
    assert (tolerance.max_atol, tolerance.max_rtol, tolerance.required_matched_ratio) == (1e-2, 1e-2, 0.99)
    assert (tolerance.max_error_cap, tolerance.allow_negative_inf) == (None, False)


@pytest.mark.parametrize("wrong", [{"max_atol": -1}, {"required_matched_ratio": 1.1}, {"max_error_cap": -0.1}])
def test_tolerances_stay_in_range(wrong):
    with pytest.raises(ValidationError):
        Workload.model_validate(raw_workload(tolerance=wrong))
