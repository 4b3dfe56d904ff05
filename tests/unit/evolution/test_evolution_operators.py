from itertools import islice
from math import inf
from random import Random

import pytest
from evolution_builders import SPACE, Axis, make_landscape, search
from hypothesis import given, settings
from hypothesis import strategies as st

from deep_agent.evolution.operators.operator import SearchState, Trial
from deep_agent.evolution.operators.random import RandomOperator
from deep_agent.evolution.operators.schedule import ScheduleOperator
from deep_agent.evolution.operators.surrogate import expected_improvement, fit
from deep_agent.evolution.space import all_indices, indices_of, point_at, point_fingerprint, space_size

OPERATORS = [ScheduleOperator(), RandomOperator()]
TINY = (Axis("vector", (1, 4)), Axis("streaming", (False, True)))

points = st.builds(
    lambda seed: point_at(SPACE, tuple(Random(seed).randrange(len(a.choices)) for a in SPACE)), st.integers()
)
trials = st.lists(
    st.builds(
        lambda point, fitness: Trial(point=point, outcome="failed" if fitness is None else "rejected", fitness=fitness),
        points,
        st.none() | st.floats(-5, 5),
    ),
    max_size=12,
)


@pytest.mark.parametrize("operator", OPERATORS)
@given(history=trials, seed=st.integers())
@settings(max_examples=40, deadline=None)
def test_a_proposal_lies_in_the_space_and_was_never_tried(operator, history, seed):
    state = SearchState(SPACE, trials=tuple(history))
    proposal = operator.propose(state, Random(seed))
    assert proposal is not None
    indices = indices_of(SPACE, proposal.point)
    assert indices is not None
    assert indices not in state.tried


@pytest.mark.parametrize("operator", OPERATORS)
@given(history=trials, seed=st.integers())
@settings(max_examples=15, deadline=None)
def test_equal_states_and_equal_chance_give_equal_proposals(operator, history, seed):
    state = SearchState(SPACE, trials=tuple(history))
    again = SearchState(SPACE, trials=tuple(history))
    assert operator.propose(state, Random(seed)) == operator.propose(again, Random(seed))


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_search_visits_every_point_once_and_then_has_nothing_left(operator):
    tried: list[Trial] = []
    while (proposal := operator.propose(SearchState(TINY, trials=tuple(tried)), Random(len(tried)))) is not None:
        tried.append(Trial(point=proposal.point, outcome="rejected", fitness=float(len(tried))))
    assert len({trial.fingerprint for trial in tried}) == len(tried) == space_size(TINY)


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_space_without_parameters_has_one_point(operator):
    assert operator.propose(SearchState(()), Random(0)).point == {}
    tried = Trial(point={}, outcome="rejected", fitness=0.0)
    assert operator.propose(SearchState((), trials=(tried,)), Random(0)) is None


def test_seeds_come_first_in_their_order_and_those_outside_the_space_are_passed_over():
    seeds = tuple(point_at(SPACE, indices) for indices in islice(all_indices(SPACE), 3))
    state = SearchState(SPACE, seeds=({"vector": 1}, *seeds))
    first = ScheduleOperator().propose(state, Random(0))
    assert (first.point, first.origin) == (seeds[0], "seed")
    tried = (Trial(point=seeds[0], outcome="failed"), Trial(point=seeds[1], outcome="improve", fitness=0.1))
    assert ScheduleOperator().propose(SearchState(SPACE, seeds, tried), Random(0)).point == seeds[2]


@pytest.mark.parametrize("operator", OPERATORS)
def test_trials_of_another_space_do_not_disturb_a_search(operator):
    stranger = Trial(point={"vector": 3, "gone": True}, outcome="improve", fitness=9.0)
    assert operator.propose(SearchState(SPACE, trials=(stranger,) * 5), Random(1)) is not None


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_search_goes_on_when_everything_failed_so_far(operator):
    failed = tuple(Trial(point=point_at(SPACE, i), outcome="failed") for i in islice(all_indices(SPACE), 20))
    assert operator.propose(SearchState(SPACE, trials=failed), Random(1)) is not None


def test_the_schedule_operator_leaves_random_search_behind_within_fifteen_evaluations():
    loss = dict.fromkeys(OPERATORS, 0.0)
    for seed in range(10):
        landscape = make_landscape(seed)
        optimum = max(value for value in landscape.values() if value is not None)
        for operator in OPERATORS:
            loss[operator] += optimum - search(operator, landscape, 15, seed)[1]
    assert loss[OPERATORS[0]] < 0.75 * loss[OPERATORS[1]]


@given(point=points)
def test_positions_and_points_are_inverse(point):
    indices = indices_of(SPACE, point)
    assert indices is not None
    assert point_at(SPACE, indices) == point


def test_a_fingerprint_ignores_order_and_tells_a_switch_from_a_number():
    assert point_fingerprint({"a": 1, "b": True}) == point_fingerprint({"b": True, "a": 1})
    assert point_fingerprint({"a": 1}) != point_fingerprint({"a": True})
    assert indices_of((Axis("a", (0, 1)),), {"a": True}) is None


@given(history=trials.filter(lambda many: any(one.fitness is not None for one in many)), point=points)
@settings(max_examples=40, deadline=None)
def test_the_surrogate_is_finite_and_never_surer_than_sure(history, point):
    placed = [(indices_of(SPACE, one.point), one.fitness) for one in history if one.fitness is not None]
    surrogate = fit(SPACE, [indices for indices, _ in placed], [fitness for _, fitness in placed])
    mean, deviation = surrogate.predict([indices_of(SPACE, point)])
    assert -inf < mean[0] < inf
    assert 0 <= deviation[0] <= surrogate.spread + 1e-9


def test_the_surrogate_recalls_a_trial_and_doubts_what_is_far_from_all_trials():
    near, far = (0, 0, 0, 0, 0, 0), (1, 3, 3, 4, 1, 1)
    surrogate = fit(SPACE, [near, (0, 0, 0, 1, 0, 0)], [0.5, 0.3])
    means, deviations = surrogate.predict([near, far])
    assert means[0] == pytest.approx(0.5, abs=0.1)
    assert deviations[1] > deviations[0]


@given(mean=st.floats(-5, 5), deviation=st.floats(0, 5), best=st.floats(-5, 5))
def test_expected_improvement_is_never_negative_and_at_least_the_sure_gain(mean, deviation, best):
    gain = expected_improvement(mean, deviation, best)
    assert gain >= 0
    assert gain >= (mean - best) - 1e-9
