import pytest
from problem_builders import raw_definition, raw_workload

from deep_agent.errors import InvalidInput
from deep_agent.problem.definition import Definition
from deep_agent.problem.footprint import MAX_ELEMENTS, check_fits, check_sizes, workload_bytes
from deep_agent.problem.workload import Workload

SCALE = Definition.model_validate(raw_definition())


def workload(rows):
    return Workload.model_validate(raw_workload(axes={"rows": rows}))


def test_a_workload_needs_its_inputs_and_outputs():
    assert workload_bytes(SCALE, workload(4)) == 4 * (32 + 8 + 32)


def test_one_that_fits_passes_to_the_byte():
    check_fits(SCALE, workload(4), available_bytes=288)
    with pytest.raises(InvalidInput, match="'w1'"):
        check_fits(SCALE, workload(4), available_bytes=287)


def test_one_that_does_not_fit_names_both_sizes_and_a_remedy():
    with pytest.raises(InvalidInput) as caught:
        check_fits(SCALE, workload(2**27), available_bytes=2**30, copies=2)
    assert "16.00 GiB" in str(caught.value)
    assert "1.00 GiB are available" in str(caught.value)
    assert "smaller axes" in caught.value.remedy


def test_the_limit_on_elements_is_sharp():
    check_sizes(SCALE, workload(MAX_ELEMENTS // 8))
    with pytest.raises(InvalidInput, match="'rows'"):
        check_sizes(SCALE, workload(MAX_ELEMENTS // 8 + 1))
