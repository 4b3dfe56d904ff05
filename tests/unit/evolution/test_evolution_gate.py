from math import log
from random import Random

import pytest
from builders import make_evaluation, make_ratio, make_workload_evaluation
from evolution_builders import gated
from hypothesis import given
from hypothesis import strategies as st

from deep_agent.evolution.gate import (
    Champion,
    Improve,
    Match,
    Reject,
    decide,
    is_better_than_library,
    is_promising,
    noise_reach_log,
)
from deep_agent.problem.evaluation import Ratio
from deep_agent.problem.trace import EvaluationStatus

CHAMPION = Champion(seq=3, solution_hash="a" * 64)
QUIET = Ratio(value=1.0, low=0.999, high=1.001, n_rounds=30)

ratios = st.builds(
    lambda value, down, up: Ratio(value=value, low=value * (1 - down), high=value * (1 + up), n_rounds=30),
    st.floats(0.2, 5),
    st.floats(0, 0.5),
    st.floats(0, 0.5),
)


def test_identical_candidates_move_the_champion_in_at_most_one_of_two_hundred_pairs():
    rng = Random(7)
    moves = [
        isinstance(decide(gated(1.0, error_log=error, rng=rng), champion=CHAMPION, noise=QUIET), Improve)
        for error in (0.0005, 0.002, 0.01, 0.05)
        for _ in range(200)
    ]
    assert sum(moves) <= 1


def test_a_gain_of_one_percent_is_found_on_a_quiet_machine():
    rng = Random(7)
    found = [decide(gated(1.01, error_log=0.0015, rng=rng), champion=CHAMPION, noise=QUIET) for _ in range(200)]
    assert sum(isinstance(one, Improve) for one in found) >= 160


def test_small_losses_cannot_accumulate():
    rng = Random(3)
    champion_speed, candidate_speed = 1.0, 1.0
    for _ in range(20):
        candidate_speed *= 0.998
        verdict = decide(
            gated(candidate_speed / champion_speed, error_log=0.001, rng=rng), champion=CHAMPION, noise=QUIET
        )
        assert not isinstance(verdict, Improve)
    assert isinstance(verdict, Reject)


@given(ratio=ratios, noise=ratios, factor=st.floats(1, 3))
def test_a_better_gain_never_gets_a_worse_verdict(ratio, noise, factor):
    rank = {"reject": 0, "match": 1, "improve": 2}
    better = Ratio(value=ratio.value * factor, low=ratio.low * factor, high=ratio.high * factor, n_rounds=30)
    before = decide(gated(gain=ratio, noise=noise), champion=CHAMPION, noise=QUIET)
    after = decide(gated(gain=better, noise=noise), champion=CHAMPION, noise=QUIET)
    assert rank[after.verdict] >= rank[before.verdict]


@given(gain=ratios, noise=ratios)
def test_an_improvement_lies_wholly_above_one_and_beyond_the_noise(gain, noise):
    if isinstance(decide(gated(gain=gain, noise=noise), champion=CHAMPION, noise=QUIET), Improve):
        assert gain.low > 1
        assert gain.low > max(noise.high, 1 / noise.low) * (1 - 1e-12)


@pytest.mark.parametrize("status", [status for status in EvaluationStatus if status is not EvaluationStatus.PASSED])
@pytest.mark.parametrize("champion", [None, CHAMPION])
def test_a_failure_is_never_a_version_however_fast(status, champion):
    evaluation = gated(3.0, status=status, message="row 7 differs")
    assert decide(evaluation, champion=champion, noise=QUIET) == Reject(reason=f"{status}: row 7 differs")
    assert not is_better_than_library(evaluation, QUIET)
    assert not is_promising(evaluation)


def test_the_first_correct_candidate_is_the_seed_even_when_the_library_is_faster():
    slow = gated(speedup=make_ratio(0.4), gain=None)
    verdict = decide(slow, champion=None, noise=QUIET)
    assert isinstance(verdict, Improve)
    assert verdict.kind == "seed"
    assert not is_better_than_library(slow, QUIET)


def test_an_untimed_candidate_cannot_be_the_seed():
    assert isinstance(decide(gated(speedup=None), champion=None, noise=QUIET), Reject)


def test_a_candidate_not_timed_against_the_champion_proves_nothing():
    assert isinstance(decide(gated(gain=None), champion=CHAMPION, noise=QUIET), Reject)


def test_a_candidate_timed_on_some_workloads_only_proves_nothing():
    timed, untimed = make_workload_evaluation("a", gain=make_ratio(2.0)), make_workload_evaluation("b", speedup=None)
    fields = {"gain": make_ratio(2.0), "noise": QUIET, "profile": "gate", "solution_hash": "c" * 64}
    evaluation = make_evaluation(timed, untimed, **fields)
    for champion in (None, CHAMPION):
        verdict = decide(evaluation, champion=champion, noise=QUIET)
        assert isinstance(verdict, Reject)
        assert "1 of 2 workloads" in verdict.reason


def test_the_champion_itself_is_not_taken_again():
    assert isinstance(decide(gated(2.0, solution_hash="a" * 64), champion=CHAMPION, noise=QUIET), Reject)


def test_a_match_enters_the_lineage_only_when_it_wins_a_workload():
    level = make_ratio(1.0, 0.002)
    winner = make_workload_evaluation("small", gain=make_ratio(1.05, 0.01))
    equal = make_workload_evaluation("large", gain=make_ratio(0.96, 0.01))
    fields = {"gain": level, "noise": QUIET, "profile": "gate", "solution_hash": "c" * 64}
    some = decide(make_evaluation(winner, equal, **fields), champion=CHAMPION, noise=QUIET)
    none = decide(make_evaluation(equal, **fields), champion=CHAMPION, noise=QUIET)
    assert isinstance(some, Match)
    assert isinstance(none, Match)
    assert (some.wins, some.enters_lineage, none.enters_lineage) == (("small",), True, False)


def test_a_machine_noisier_than_the_cap_can_prove_a_large_gain_but_no_match():
    loud = make_ratio(1.0, 0.03)
    large, level = make_ratio(1.3, 0.05), make_ratio(1.0, 0.05)
    assert isinstance(decide(gated(gain=large, noise=loud), champion=CHAMPION, noise=QUIET), Improve)
    verdict = decide(gated(gain=level, noise=loud), champion=CHAMPION, noise=QUIET)
    assert isinstance(verdict, Reject)
    assert "cannot tell" in verdict.reason


def test_the_characterized_noise_counts_where_the_evaluation_has_none():
    evaluation = gated(gain=make_ratio(1.02, 0.005), noise=None)
    assert isinstance(decide(evaluation, champion=CHAMPION, noise=QUIET), Improve)
    assert not isinstance(decide(evaluation, champion=CHAMPION, noise=make_ratio(1.0, 0.05)), Improve)


@given(noise=ratios)
def test_noise_reaches_as_far_as_its_farther_end(noise):
    assert noise_reach_log(noise) == max(log(noise.high), -log(noise.low), 0.0)


@pytest.mark.parametrize(("gain", "promising"), [(1.0, False), (1.004, False), (1.006, True)])
def test_a_screen_is_promising_from_half_a_percent_on(gain, promising):
    assert is_promising(gated(gain=make_ratio(gain))) is promising
