"""Axis expressions: found where a law is simple, and true at bindings the search never saw."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep_agent.problem.axes import evaluate_expression
from deep_agent.sol.expressions import ExpressionFinder

POINTS = [{"a": 8, "b": 6}, {"a": 11, "b": 13}, {"a": 29, "b": 17}, {"a": 41, "b": 37}]


@pytest.mark.parametrize(
    ("law", "expected"),
    [
        (lambda a, b: 7, "7"),
        (lambda a, b: a, "a"),
        (lambda a, b: a * b, "a*b"),
        (lambda a, b: 3 * a, "3*a"),
        (lambda a, b: a + 3, "a+3"),
        (lambda a, b: 2 * a - 1, "2*a-1"),
        (lambda a, b: a + b, "a+b"),
        (lambda a, b: a * b + b, "b+a*b"),
        (lambda a, b: a // 2, "(a)//2"),
    ],
)
def test_a_simple_law_is_found_in_its_readable_form(law, expected):
    found = ExpressionFinder(POINTS, ["a", "b"]).find(tuple(law(**point) for point in POINTS))
    assert found == expected


@given(st.integers(1, 5), st.integers(-5, 9), st.sampled_from(["a", "b", "a*b"]))
def test_a_found_law_holds_at_a_fresh_binding(factor, offset, product):
    law = f"{factor}*{product}{offset:+d}"
    found = ExpressionFinder(POINTS, ["a", "b"]).find(tuple(evaluate_expression(law, point) for point in POINTS))
    assert found is not None
    fresh = {"a": 101, "b": 53}
    assert evaluate_expression(found, fresh) == evaluate_expression(law, fresh)


def test_a_law_that_is_not_simple_is_not_guessed():
    assert ExpressionFinder(POINTS, ["a", "b"]).find((3, 1, 4, 1)) is None
