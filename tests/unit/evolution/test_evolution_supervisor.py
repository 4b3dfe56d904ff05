import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep_agent.evolution.supervisor import ERRORS_IN_A_ROW, LEAST_STALL, next_step, stall_limit
from deep_agent.htdag.goal import Spend
from deep_agent.htdag.search import SearchHistory, VaryRecord

outcomes = st.sampled_from(["improve", "match", "rejected", "failed", "error"])


def make_record(outcome="rejected", fingerprint=None, *, wall_s=4.0, **changes):
    make_record.count += 1
    n_evaluations = 0 if outcome in {"error", "nothing_left"} else 1
    fields = {
        "outcome": outcome,
        "fingerprint": f"f{make_record.count}" if fingerprint is None else fingerprint,
        "spend": Spend(wall_s=wall_s, evaluations=n_evaluations),
    }
    return VaryRecord(**(fields | changes))


make_record.count = 0


def make_history(*records, **changes):
    fields = {
        "records": records,
        "elapsed_s": 4.0 * len(records),
        "remaining_s": 600.0,
        "max_evaluations": None,
        "stall_evaluations": 24,
        "target_sol_score": None,
    }
    return SearchHistory(**(fields | changes))


histories = st.builds(
    lambda kinds, remaining_s, elapsed_s, cap: make_history(
        *(make_record(kind) for kind in kinds), remaining_s=remaining_s, elapsed_s=elapsed_s, max_evaluations=cap
    ),
    st.lists(outcomes, max_size=40),
    st.floats(-10, 1e4),
    st.floats(0, 1e4),
    st.none() | st.integers(1, 60),
)


def test_a_fresh_search_varies():
    assert next_step(make_history()).verb == "vary"


@pytest.mark.parametrize(
    ("history", "words"),
    [
        (make_history(remaining_s=0.0), "time budget"),
        (make_history(make_record(wall_s=9.0), remaining_s=8.0), "less than the 9 s"),
        (make_history(*[make_record()] * 2, max_evaluations=2), "all 2 evaluations"),
        (make_history(make_record("nothing_left", "")), "no further candidate"),
        (make_history(make_record("improve", sol_score=0.91), target_sol_score=0.9), "reached the target"),
        (make_history(make_record("improve"), *(make_record() for _ in range(24))), "no better kernel in the last 24"),
        (make_history(*(make_record("improve", "same") for _ in range(3))), "came back 3 times"),
        (make_history(make_record("improve"), *(make_record("failed") for _ in range(5))), "5 candidates in a row"),
        (make_history(*(make_record("error", "") for _ in range(ERRORS_IN_A_ROW))), "deep-agent doctor"),
    ],
)
def test_each_signal_ends_the_search_and_says_why(history, words):
    decision = next_step(history)
    assert decision.verb == "end"
    assert words in decision.reason


def test_the_same_candidate_far_apart_is_no_cycle():
    others = [make_record("improve") for _ in range(12)]
    history = make_history(
        make_record("improve", "a"), make_record("improve", "a"), *others, make_record("improve", "a")
    )
    assert next_step(history).verb == "vary"


@given(history=histories)
def test_equal_histories_give_equal_answers_with_a_reason(history):
    decision = next_step(history)
    assert decision == next_step(history)
    assert decision.reason


@given(history=histories, positions=st.lists(st.integers(0, 40), max_size=ERRORS_IN_A_ROW - 1))
def test_a_few_errors_anywhere_change_nothing(history, positions):
    clean = [record for record in history.records if record.outcome != "error"]
    stormy = list(clean)
    for position in positions:
        stormy.insert(position, make_record("error", "same", wall_s=50.0))
    without = next_step(history.model_copy(update={"records": tuple(clean)}))
    assert next_step(history.model_copy(update={"records": tuple(stormy)})) == without


@given(history=histories)
def test_no_time_left_always_ends_a_search(history):
    assert next_step(history.model_copy(update={"remaining_s": 0.0})).verb == "end"


@given(budget_s=st.floats(60, 20_000), step_s=st.floats(1, 8), stall=st.integers(1, 200))
def test_a_search_without_progress_ends_before_its_budget_does(budget_s, step_s, stall):
    records = [make_record("improve", wall_s=step_s)]
    while True:
        elapsed_s = step_s * len(records)
        history = make_history(*records, elapsed_s=elapsed_s, remaining_s=budget_s - elapsed_s, stall_evaluations=stall)
        decision = next_step(history)
        if decision.verb == "end":
            break
        records.append(make_record(wall_s=step_s))
    assert len(records) - 1 <= stall
    if "no better kernel" in decision.reason:
        assert len(records) - 1 >= min(stall, LEAST_STALL)
    if budget_s > 2 * LEAST_STALL * step_s + 2 * step_s:
        assert "no better kernel" in decision.reason


@given(history=histories)
def test_the_stall_limit_never_exceeds_the_users_figure(history):
    assert 1 <= stall_limit(history) <= history.stall_evaluations
