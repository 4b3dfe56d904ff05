"""Which version is verified, and what becomes of the judge's answer."""

import pytest
from builders import make_bound, make_evaluation, make_ratio, make_solution, make_workload_evaluation
from executor_report_builders import make_context, make_known

from deep_agent.evolution.lineage import Lineage, lineage_path
from deep_agent.evolution.version import Version
from deep_agent.executor.actions.verify import Verify
from deep_agent.executor.findings import VerifyFinding
from deep_agent.htdag.job import VersionView
from deep_agent.problem.evaluation import ArmTiming, Evaluation
from deep_agent.problem.trace import EvaluationStatus

BRANCH = "job-1.goal.optimize-1"


class OneAnswer:
    """A `Judge` that gives one evaluation, of whatever it is asked about."""

    def __init__(self, answer: Evaluation) -> None:
        self.answer = answer
        self.asked = []

    def evaluate(self, request, progress=None):
        self.asked.append(request)
        return self.answer.model_copy(update={"solution_hash": request.solution.content_hash})


class Rows:
    """The versions of one job."""

    def __init__(self, *rows: VersionView) -> None:
        self.rows = rows

    def versions(self, job_id):
        return self.rows


def lineage_of(folder, *speedups, kinds=None, branch=BRANCH):
    """Write a version for each speed-up and give their rows."""
    lineage, rows, parent = Lineage(lineage_path(folder, "double-1")), [], None
    for seq, speedup in enumerate(speedups):
        kind = (kinds or ["seed", *["improve"] * len(speedups)])[seq]
        solution = make_solution(f"// version {seq}\n")
        version = Version(
            seq=seq, kind=kind, node=f"{branch}.evolve.vary-{seq}", parent_sha=parent, solution=solution,
            evaluation=make_evaluation(), timestamp_s=seq, sol_score=None,
        )  # fmt: skip
        parent = lineage.write(version)
        rows.append(
            VersionView(
                job_id="job-1",
                node_id=version.node,
                search="double-1",
                seq=seq,
                commit_sha=parent,
                kind=kind,
                solution_hash=solution.content_hash,
                parent_seq=None,
                sol_score=None,
                at_s=seq,
                evaluation={"speedup": {"value": speedup, "low": speedup, "high": speedup}},
            )
        )
    return rows


def verified(folder, rows, *, answer=None, known=None, **params):
    judge = OneAnswer(answer or make_evaluation())
    action = Verify(judge=judge, reads=Rows(*rows), lineages=folder)
    ctx = make_context(node_id=f"{BRANCH}.verify", params={"problem": "problems/double", **params})
    outcome = action.run({"characterize": (known or make_known()).as_outputs()}, ctx)
    return VerifyFinding.model_validate(outcome.outputs), outcome, judge


def test_the_champion_is_judged_anew_and_announced(tmp_path):
    found, outcome, judge = verified(tmp_path, lineage_of(tmp_path, 1.2, 1.6))
    assert found.verdict == "verified"
    assert found.solution == make_solution("// version 1\n")
    assert found.first == make_solution("// version 0\n")
    assert judge.asked[0].profile == "verify"
    assert [one.type for one in outcome.announcements] == ["kernel.verified"]
    assert found.best is not None


def test_without_a_version_faster_than_the_library_its_call_is_judged(tmp_path):
    for rows in ([], lineage_of(tmp_path, 0.8)):
        found, outcome, judge = verified(tmp_path, rows)
        assert found.verdict == "library"
        assert "No faster kernel found" in found.message
        assert judge.asked[0].solution.spec.is_python
        assert outcome.announcements == ()


def test_versions_of_another_branch_are_not_ours(tmp_path):
    rows = lineage_of(tmp_path, 1.5, branch="job-1.goal.optimize-10")
    assert verified(tmp_path, rows)[0].verdict == "library"


def test_the_runner_up_is_the_fastest_one_not_refuted(tmp_path):
    rows = lineage_of(tmp_path, 1.2, 1.4, 1.3, 1.8, kinds=["seed", "improve", "match", "improve"])
    refuted = [rows[3].solution_hash]
    found, _, _ = verified(tmp_path, rows, candidate="runner_up", refuted=refuted)
    assert found.solution_hash == rows[1].solution_hash
    everything = [row.solution_hash for row in rows]
    assert verified(tmp_path, rows, candidate="runner_up", refuted=everything)[0].verdict == "library"


def test_a_node_may_ask_for_the_library(tmp_path):
    assert verified(tmp_path, lineage_of(tmp_path, 1.5), candidate="library")[0].verdict == "library"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": EvaluationStatus.INCORRECT_NUMERICAL, "message": "y: element 3"}, "element 3"),
        ({"speedup": make_ratio(1.01, 0.02)}, "Not faster beyond doubt"),
        ({"speedup": make_ratio(1.04, 0.01), "noise": make_ratio(1.02, 0.05)}, "Not faster beyond doubt"),
        ({"speedup": None}, "Time ran out"),
    ],
)
def test_what_is_not_proved_is_refuted_in_words(tmp_path, changes, words):
    found, outcome, _ = verified(tmp_path, lineage_of(tmp_path, 1.5), answer=make_evaluation(**changes))
    assert found.verdict == "refuted"
    assert words in found.message
    assert outcome.announcements == ()


def timed(time_us):
    return make_evaluation(make_workload_evaluation(candidate=ArmTiming(time_us=time_us, cpu_us=time_us)))


def test_a_time_far_below_the_bound_is_not_believed(tmp_path):
    known = make_known(bounds=(make_bound(time_us=100.0),))
    found, _, _ = verified(tmp_path, lineage_of(tmp_path, 1.5), answer=timed(49.0), known=known)
    assert found.verdict == "refuted"
    assert "Quarantined" in found.message


def test_a_measured_bound_that_is_undercut_a_little_is_itself_in_doubt(tmp_path):
    known = make_known(bounds=(make_bound(time_us=100.0),))
    found, _, _ = verified(tmp_path, lineage_of(tmp_path, 1.5), answer=timed(97.0), known=known)
    assert found.verdict == "verified"
    assert "probed in a busy moment" in found.message


def test_a_data_sheets_bound_is_not_undercut_at_all(tmp_path):
    known = make_known(bounds=(make_bound(time_us=100.0, bound_kind="sheet"),))
    assert verified(tmp_path, lineage_of(tmp_path, 1.5), answer=timed(97.0), known=known)[0].verdict == "refuted"
