"""Owns how a goal's wall time is divided: pure arithmetic over seconds.

The device is serial, so what one branch uses another waits for. Of the time left, every open branch keeps back
its tail (verify and package), the goal keeps back its report, and the rest belongs to the searches still open in
equal parts. Asked anew before every step, unused time flows to the others by itself.
"""

N_SEARCH_THREADS = 2
"""Searches that make progress at the same time."""
REPORT_S = 3.0
REPORT_FRACTION = 0.05
TAIL_FRACTION = 0.25
"""Of a branch's part of the budget, before anything was measured."""
TAIL_AT_MOST_FRACTION = 0.35
TAIL_AT_LEAST_S = 4.0
TAIL_OF_CHARACTERIZE = 0.75
"""Verification times one candidate against the best baseline; characterizing times every baseline."""


def report_s(budget_s: float) -> float:
    """Give the seconds kept back for the report; at most a twentieth of the budget."""
    return min(REPORT_S, REPORT_FRACTION * budget_s)


def tail_s(budget_s: float, *, n_branches: int, characterize_s: float | None) -> float:
    """Give the seconds kept back for a branch's verify and package.

    Args:
        budget_s: wall seconds of the whole goal.
        n_branches: problems of the goal.
        characterize_s: what characterizing the branch took; None before it ended.

    Returns:
        Never more than TAIL_AT_MOST_FRACTION of the branch's equal part of the budget.
    """
    part_s = budget_s / n_branches
    if characterize_s is None:
        return TAIL_FRACTION * part_s
    wanted_s = max(TAIL_AT_LEAST_S, TAIL_OF_CHARACTERIZE * characterize_s)
    return min(wanted_s, TAIL_AT_MOST_FRACTION * part_s)


def kept_back_s(budget_s: float, *, n_open_branches: int, tail_s: float) -> float:
    """Give the seconds that all searches together must leave: every open branch's tail, and the report."""
    return n_open_branches * tail_s + report_s(budget_s)


def search_share_s(*, left_s: float, kept_back_s: float, n_open_searches: int) -> float:
    """Give the wall seconds one search may still use; 0 when its time is over.

    With at most N_SEARCH_THREADS searches open, each may use all that is left: they run side by side.

    Args:
        left_s: until the goal's deadline; may be negative.
        kept_back_s: see `kept_back_s`.
        n_open_searches: searches that have not ended, this one included.
    """
    pool_s = max(0.0, left_s - kept_back_s)
    return pool_s * min(1.0, N_SEARCH_THREADS / max(1, n_open_searches))
