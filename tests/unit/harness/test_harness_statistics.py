"""What the judge's statistics promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deep_agent.harness.timing.statistics import is_hopeless, is_precise, log_ratios, ratio

times = st.lists(st.floats(1.0, 1e6), min_size=2, max_size=40)


@given(times)
@settings(deadline=None, max_examples=50)
def test_an_arm_against_itself_has_ratio_one(samples):
    found = ratio([log_ratios(samples, samples)])
    assert found.value == pytest.approx(1.0)
    assert found.low < 1.0 < found.high


@given(times, st.floats(0.1, 10.0))
@settings(deadline=None, max_examples=50)
def test_a_constant_factor_is_found_whatever_the_drift(reference, factor):
    found = ratio([log_ratios(reference, [time / factor for time in reference])])
    assert found.value == pytest.approx(factor, rel=1e-6)
    assert found.low <= found.value <= found.high


@given(st.lists(st.floats(-0.5, 0.5), min_size=2, max_size=30))
@settings(deadline=None, max_examples=50)
def test_the_interval_holds_the_value_and_swapping_arms_inverts_it(logs):
    samples = np.array(logs)
    forth, back = ratio([samples]), ratio([-samples])
    assert forth.low <= forth.value <= forth.high
    assert back.value == pytest.approx(1 / forth.value, rel=1e-9)


def test_equal_samples_give_equal_intervals():
    samples = np.random.default_rng(3).normal(0.1, 0.02, 20)
    assert ratio([samples]) == ratio([samples.copy()])


def test_one_burst_of_a_neighbour_does_not_move_the_ratio():
    quiet = np.full(15, 0.1)
    disturbed = quiet.copy()
    disturbed[4] = -2.0
    assert ratio([disturbed]).value == pytest.approx(ratio([quiet]).value, rel=1e-9)


def test_equal_arms_are_called_faster_at_most_as_often_as_the_interval_allows():
    rng = np.random.default_rng(11)
    wins = sum(ratio([rng.normal(0.0, 0.03, 8) for _ in range(3)]).is_faster for _ in range(400))
    # Two-sided 95 %: a fortieth on each side; twice that leaves room for chance.
    assert wins <= 20


def test_a_true_gain_of_two_percent_is_found_in_one_percent_noise():
    rng = np.random.default_rng(12)
    found = sum(ratio([rng.normal(0.02, 0.01, 14) for _ in range(3)]).is_faster for _ in range(50))
    assert found >= 48


def test_hopeless_and_precise_speak_of_the_right_end():
    slower = ratio([np.full(10, -0.2) + np.random.default_rng(1).normal(0, 0.001, 10)])
    assert is_hopeless(slower, floor=0.97)
    assert is_precise(slower, half_width=0.01)
    assert not is_hopeless(ratio([np.full(10, 0.2)]), floor=0.97)


def test_few_rounds_give_a_wider_interval_than_many():
    rng = np.random.default_rng(5)
    few = np.mean([np.log(r.high / r.low) for r in (ratio([rng.normal(0, 0.02, 5)]) for _ in range(40))])
    many = np.mean([np.log(r.high / r.low) for r in (ratio([rng.normal(0, 0.02, 30)]) for _ in range(40))])
    assert few > 2 * many


def test_rounds_that_agree_do_not_make_two_processes_more_alike_than_they_are():
    found = ratio([np.full(200, 0.002)], resolution=0.003)
    assert found.low < 1.0 < found.value < found.high
    assert not found.is_faster
    assert ratio([np.full(200, 0.01)], resolution=0.003).is_faster
