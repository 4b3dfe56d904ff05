import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep_agent.errors import InvalidInput
from deep_agent.problem.axes import MAX_AXIS, evaluate_expression

SIZES = {"n": 12, "m": 5, "zero": 0}


@pytest.mark.parametrize(
    ("expression", "size"),
    [
        ("2 * n", 24),
        ("n / 4", 3),
        ("n // m", 2),
        ("n % m", 2),
        ("m ** 2", 25),
        ("-(-n)", 12),
        ("+n - m", 7),
        ("n / 5 * 5", 12),
        ("0.5 * n", 6),
    ],
)
def test_expressions_are_exact_arithmetic(expression, size):
    assert evaluate_expression(expression, SIZES) == size


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("n / 5", "12/5"),
        ("m - n", "outside"),
        ("n / zero", "cannot be computed"),
        ("n % zero", "cannot be computed"),
        ("zero ** (-1)", "cannot be computed"),
        ("unknown + 1", "'unknown'"),
        ("__import__('os')", "not arithmetic"),
        ("n if n else m", "not arithmetic"),
        ("n +", "cannot be computed"),
        ("'a'", "no number"),
        ("True", "no number"),
        ("1e999", "cannot be computed"),
        ("n << 2", "not arithmetic"),
        ("(" * 500 + "n" + ")" * 500, "cannot be computed"),
    ],
)
def test_what_is_not_a_size_is_refused_in_words(expression, names):
    with pytest.raises(InvalidInput, match=names):
        evaluate_expression(expression, SIZES)


@pytest.mark.parametrize("expression", ["2**(10**6)", "n**65", "2**64", "0 * (1/3)**64", "9**9**9"])
def test_trap_7_huge_powers_are_refused_before_they_are_computed(expression):
    with pytest.raises(InvalidInput):
        evaluate_expression(expression, SIZES)


@given(st.text(alphabet="nm 0123456789.+-*/%()", max_size=40))
def test_any_text_gives_a_size_in_range_or_a_named_error(expression):
    try:
        size = evaluate_expression(expression, SIZES)
    except InvalidInput:
        return
    assert 0 <= size <= MAX_AXIS
