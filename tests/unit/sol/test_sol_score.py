"""The SOL Score: the published table, and the ranges its docstring promises."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep_agent.errors import InvalidInput
from deep_agent.sol.score import sol_score

times = st.floats(min_value=0, max_value=1e12, allow_nan=False, allow_subnormal=False)


@pytest.mark.parametrize(
    ("times", "raw", "clamped", "flags"),
    [
        ((2, 2, 1), 0.5, 0.5, (False, False)),
        ((1, 2, 1), 1.0, 1.0, (False, False)),
        ((3, 2, 1), 1 / 3, 1 / 3, (False, False)),
        ((0.5, 2, 1), 2.0, 1.0, (True, False)),
        ((0, 2, 1), None, 1.0, (True, False)),
        ((0.9, 2, 1.5), -5.0, 1.0, (True, False)),
        ((2, 1, 1), 0.0, 0.0, (False, True)),
        ((1, 1, 1), 1.0, 1.0, (False, True)),
        ((0.5, 1, 1), 1.0, 1.0, (True, True)),
    ],
)
def test_the_score_follows_the_table(times, raw, clamped, flags):
    time, baseline, bound = times
    score = sol_score(time_us=time, baseline_us=baseline, bound_us=bound)
    assert score.raw == (None if raw is None else pytest.approx(raw))
    assert score.clamped == pytest.approx(clamped)
    assert (score.below_sol, score.baseline_at_sol) == flags


def test_a_time_within_the_noise_of_the_bound_is_not_below_it():
    assert not sol_score(time_us=0.97, baseline_us=2, bound_us=1, noise=0.05).below_sol
    assert sol_score(time_us=0.94, baseline_us=2, bound_us=1, noise=0.05).below_sol


@given(time=times, baseline=times, bound=times, noise=st.floats(0, 0.99))
def test_the_clamped_score_stays_between_zero_and_one(time, baseline, bound, noise):
    score = sol_score(time_us=time, baseline_us=baseline, bound_us=bound, noise=noise)
    assert 0 <= score.clamped <= 1
    assert score.clamped == 1 or time > bound


@given(first=times, second=times, baseline=times, bound=times)
def test_a_longer_time_never_scores_higher(first, second, baseline, bound):
    short, long = sorted((first, second))
    scores = [sol_score(time_us=time, baseline_us=baseline, bound_us=bound).clamped for time in (short, long)]
    assert scores[0] >= scores[1]


@pytest.mark.parametrize(
    "wrong", [{"time_us": -1.0}, {"time_us": float("nan")}, {"bound_us": float("inf")}, {"noise": 1.0}]
)
def test_numbers_that_are_no_times_are_refused(wrong):
    with pytest.raises(InvalidInput):
        sol_score(**({"time_us": 1.0, "baseline_us": 2.0, "bound_us": 0.5} | wrong))
