"""How the wall time of a goal is divided."""

from hypothesis import given
from hypothesis import strategies as st

from deep_agent.planner import shares
from deep_agent.planner.seeds import derived_seed

budgets = st.floats(1, 1e5)
branches = st.integers(1, 64)


@given(budget_s=budgets, n=branches, took_s=st.none() | st.floats(0, 1e5))
def test_what_is_kept_back_leaves_at_least_half_of_the_budget_to_the_searches(budget_s, n, took_s):
    tail_s = shares.tail_s(budget_s, n_branches=n, characterize_s=took_s)
    kept_s = shares.kept_back_s(budget_s, n_open_branches=n, tail_s=tail_s)
    assert tail_s > 0
    assert kept_s <= (shares.TAIL_AT_MOST_FRACTION + shares.REPORT_FRACTION) * budget_s * (1 + 1e-9)


@given(left_s=st.floats(-1e4, 1e5), kept_s=st.floats(0, 1e4), n=st.integers(0, 64))
def test_the_shares_of_all_searches_never_exceed_what_two_threads_can_do(left_s, kept_s, n):
    share_s = shares.search_share_s(left_s=left_s, kept_back_s=kept_s, n_open_searches=n)
    assert share_s >= 0
    assert share_s * max(1, n) <= shares.N_SEARCH_THREADS * max(0.0, left_s - kept_s) * (1 + 1e-9)


@given(left_s=st.floats(1, 1e5), kept_s=st.floats(0, 1e5), n=st.integers(2, 64))
def test_a_search_that_ends_leaves_its_time_to_the_others(left_s, kept_s, n):
    before_s = shares.search_share_s(left_s=left_s, kept_back_s=kept_s, n_open_searches=n)
    assert shares.search_share_s(left_s=left_s, kept_back_s=kept_s, n_open_searches=n - 1) >= before_s


def test_a_lone_search_may_use_all_but_its_tail_and_the_report():
    tail_s = shares.tail_s(120, n_branches=1, characterize_s=10.0)
    kept_s = shares.kept_back_s(120, n_open_branches=1, tail_s=tail_s)
    assert (tail_s, kept_s) == (7.5, 10.5)
    assert shares.search_share_s(left_s=100, kept_back_s=kept_s, n_open_searches=1) == 89.5


def test_five_searches_get_two_fifths_of_the_time_each_because_two_run_at_once():
    assert shares.search_share_s(left_s=110, kept_back_s=10, n_open_searches=5) == 40


def test_seeds_differ_by_every_part_and_stay_in_range():
    seeds = {derived_seed(a, b, c) for a in range(5) for b in ("x", "y") for c in range(5)}
    assert len(seeds) == 50
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derived_seed("a", "bc") != derived_seed("ab", "c")
