"""Owns the policy that ends a search: budget, target, stall, cycle, failures. Pure; runs nothing.

Records with outcome `error` (broken judge or device) feed no counter but their own: a storm of them is no stall.
Each threshold can be reached within the budget, else it is scaled down; reasons are sentences for the report.
"""

from collections import Counter
from statistics import median

from deep_agent.htdag.search import SearchDecision, SearchHistory, VaryRecord

CYCLE_WINDOW = 12
CYCLE_REPEATS = 3
"""A fingerprint this often within the window is a cycle."""
FAILURES_IN_A_ROW = 5
"""Candidates that fail to build or are incorrect, one after another, before the search gives up."""
ERRORS_IN_A_ROW = 5
"""Attempts lost to a broken judge or device, one after another, before the search gives up."""
LEAST_STALL = 6
"""Evaluations a search gets without a new champion, however short its budget."""
STALL_SHARE = 0.5
"""Share of the budget within which a stall must be able to show."""
RECENT = 5
"""Records from which the length of a typical step is taken."""


def next_step(history: SearchHistory) -> SearchDecision:
    """Answer whether a search goes on; equal histories give equal answers (a `SearchPolicy`)."""
    judged = tuple(record for record in history.records if record.outcome != "error")
    reason = (
        _finished(history, judged)
        or _out_of_budget(history, judged)
        or _fruitless(history, judged)
        or _broken(history.records)
    )
    if reason:
        return SearchDecision(verb="end", reason=reason)
    return SearchDecision(verb="vary", reason=f"{history.remaining_s:.0f} s are left for another candidate")


def _finished(history: SearchHistory, judged: tuple[VaryRecord, ...]) -> str:
    """Why there is nothing more to want."""
    if judged and judged[-1].outcome == "nothing_left":
        return "the operator has no further candidate"
    score = next((record.sol_score for record in reversed(judged) if record.sol_score is not None), None)
    target = history.target_sol_score
    if target is not None and score is not None and score >= target:
        return f"the champion's SOL Score of {score:.2f} reached the target of {target:.2f}"
    return ""


def _out_of_budget(history: SearchHistory, judged: tuple[VaryRecord, ...]) -> str:
    """Why no further candidate can be paid for."""
    used = sum(record.spend.evaluations for record in judged)
    if history.max_evaluations is not None and used >= history.max_evaluations:
        return f"all {history.max_evaluations} evaluations were used"
    typical_s = typical_step_s(judged)
    if history.remaining_s <= 0:
        return "the time budget was used up"
    if history.remaining_s < typical_s:
        return f"{history.remaining_s:.0f} s were left, less than the {typical_s:.0f} s a candidate takes"
    return ""


def _fruitless(history: SearchHistory, judged: tuple[VaryRecord, ...]) -> str:
    """Why more of the same promises nothing."""
    since = evaluations_since_champion(judged)
    limit = stall_limit(history)
    if since >= limit:
        return f"no better kernel in the last {since} evaluations"
    latest = judged[-CYCLE_WINDOW:]
    repeats = Counter(record.fingerprint for record in latest if record.fingerprint)
    if repeats and max(repeats.values()) >= CYCLE_REPEATS:
        return f"the same candidate came back {max(repeats.values())} times in the last {len(latest)}"
    failures = _run_length(judged, "failed")
    if failures >= FAILURES_IN_A_ROW:
        return f"{failures} candidates in a row were incorrect or did not build"
    return ""


def _broken(records: tuple[VaryRecord, ...]) -> str:
    """Why the machinery cannot be trusted to go on."""
    errors = _run_length(records, "error")
    return f"the judge broke {errors} times in a row; run `deep-agent doctor`" if errors >= ERRORS_IN_A_ROW else ""


def evaluations_since_champion(judged: tuple[VaryRecord, ...]) -> int:
    """Count the evaluations after the last record that moved the champion."""
    last = max((index for index, record in enumerate(judged) if record.outcome == "improve"), default=-1)
    return sum(record.spend.evaluations for record in judged[last + 1 :])


def typical_step_s(judged: tuple[VaryRecord, ...]) -> float:
    """Median wall seconds of the latest steps; zero before the first."""
    return median(record.spend.wall_s for record in judged[-RECENT:]) if judged else 0.0


def stall_limit(history: SearchHistory) -> int:
    """Evaluations without a new champion that end the search.

    The user's figure, unless the budget (time, or evaluations) is too short for it to show within
    STALL_SHARE of it; never below LEAST_STALL or the user's figure, whichever is smaller.
    """
    affordable = [float(history.stall_evaluations)]
    judged = tuple(record for record in history.records if record.outcome != "error")
    typical_s = typical_step_s(judged)
    if typical_s > 0:
        affordable.append(STALL_SHARE * (history.elapsed_s + max(history.remaining_s, 0.0)) / typical_s)
    if history.max_evaluations is not None:
        affordable.append(STALL_SHARE * history.max_evaluations)
    return min(history.stall_evaluations, max(int(min(affordable)), LEAST_STALL))


def _run_length(records: tuple[VaryRecord, ...], outcome: str) -> int:
    """Count the records at the end that all have this outcome."""
    length = 0
    for record in reversed(records):
        if record.outcome != outcome:
            break
        length += 1
    return length
