"""When an output counts as right."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deep_agent.harness.answers.compare import FAR_FACTOR, agrees, compare
from deep_agent.problem.trace import EvaluationStatus
from deep_agent.problem.workload import ToleranceSpec

STRICT = ToleranceSpec(max_atol=1e-3, max_rtol=1e-3, required_matched_ratio=1.0)
LOOSE = ToleranceSpec(max_atol=1e-3, max_rtol=1e-3, required_matched_ratio=0.9)


def truth(n=1000):
    return torch.linspace(1.0, 2.0, n)


def test_equal_outputs_match():
    assert compare("y", truth(), truth().double(), STRICT).matches
    assert agrees(truth(), truth(), STRICT)


@given(st.floats(0.0, 0.9), st.integers(1, 3000))
@settings(deadline=None, max_examples=40)
def test_errors_within_tolerance_match_wherever_they_are(share, n):
    y = truth(n)
    x = y + share * (1e-3 + 1e-3 * y)
    assert compare("y", x, y, STRICT).matches
    assert agrees(x, y, STRICT)


def test_an_element_off_is_named_with_both_values():
    x = truth()
    x[7] += 0.5
    found = compare("y", x, truth(), STRICT)
    assert found.status is EvaluationStatus.INCORRECT_NUMERICAL
    assert "element 7" in found.message
    assert not agrees(x, truth(), STRICT)


def test_an_allowed_share_may_miss_a_little_but_not_by_far():
    near, far = truth(), truth()
    near[:50] += 2 * (1e-3 + 1e-3 * near[:50])
    far[:50] += (FAR_FACTOR + 1) * (1e-3 + 1e-3 * far[:50])
    assert compare("y", near, truth(), LOOSE).matches
    assert not compare("y", far, truth(), LOOSE).matches


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_floats_of_eight_bits_are_compared_though_the_library_does_not_compute_in_them(dtype):
    expected = truth().to(dtype)
    other = (truth() + 0.5).to(dtype)
    assert agrees(expected.clone(), expected, STRICT)
    assert not agrees(other, expected, STRICT)
    assert compare("y", expected.clone(), expected, STRICT).matches
    assert not compare("y", other, expected, STRICT).matches


STEPS = ToleranceSpec(max_atol=1e-9, max_rtol=1e-5, required_matched_ratio=0.99, max_error_cap=1.0)


@pytest.mark.parametrize(
    ("dtype", "off", "matches"),
    [(torch.int8, 1, True), (torch.int8, 2, False), (torch.float32, 1, False), (torch.int64, 1, False)],
    ids=["one step", "two steps", "not in steps", "indices"],
)
def test_what_is_quantised_may_miss_by_as_much_as_the_cap_says(dtype, off, matches):
    expected = torch.arange(10_000).remainder(100).to(dtype)
    actual = expected.clone()
    actual[:50] += off
    assert compare("q", actual, expected, STEPS).matches == matches
    actual[:200] += off
    assert not compare("q", actual, expected, STEPS).matches


def test_without_a_cap_whole_numbers_may_not_miss_at_all():
    expected = torch.arange(10_000).remainder(100).to(torch.int8)
    actual = expected.clone()
    actual[0] += 1
    assert not compare("q", actual, expected, STEPS.model_copy(update={"max_error_cap": None})).matches


def test_more_misses_than_the_share_fail():
    x = truth()
    x[:200] += 2 * (1e-3 + 1e-3 * x[:200])
    assert "200 of 1000" in compare("y", x, truth(), LOOSE).message


def test_nan_and_infinity_never_match_even_each_other():
    for value in (float("nan"), float("inf")):
        x, y = truth(), truth()
        x[3] = value
        assert not compare("y", x, y, LOOSE).matches
        y[3] = value
        assert not compare("y", x, y, LOOSE).matches
        assert not agrees(x, truth(), LOOSE)


def test_mutual_negative_infinity_matches_only_where_it_is_allowed():
    x, y = truth(), truth()
    x[3] = y[3] = -torch.inf
    allowed = ToleranceSpec(max_atol=1e-3, max_rtol=1e-3, required_matched_ratio=1.0, allow_negative_inf=True)
    assert compare("y", x, y, allowed).matches
    assert not compare("y", x, y, STRICT).matches
    assert not compare("y", x, truth(), allowed).matches


def test_all_zeros_fail_even_within_a_wide_tolerance():
    wide = ToleranceSpec(max_atol=10.0)
    assert "all zeros" in compare("y", torch.zeros(10), truth(10), wide).message
    assert not agrees(torch.zeros(10), truth(10), wide)
    assert compare("y", torch.zeros(10), torch.zeros(10), wide).matches


def test_integers_above_the_float32_range_are_told_apart():
    exact = ToleranceSpec(max_atol=0.0, max_rtol=0.0, required_matched_ratio=1.0)
    y = torch.tensor([2**24, 2**24 + 1])
    assert not compare("y", torch.tensor([2**24, 2**24]), y, exact).matches
    assert not agrees(torch.tensor([2**24, 2**24]), y, exact)


def test_the_error_cap_holds_beside_the_tolerance():
    capped = ToleranceSpec(max_atol=1.0, max_error_cap=0.1)
    x = truth()
    x[0] += 0.2
    assert "cap" in compare("y", x, truth(), capped).message


def test_an_empty_output_matches():
    assert compare("y", torch.empty(0, 4), torch.empty(0, 4), STRICT).matches
