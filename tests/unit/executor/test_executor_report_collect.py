"""How the report reads a job's nodes."""

from builders import make_goal
from executor_report_builders import (
    SPEND,
    make_context,
    make_graph,
    make_known,
    make_node_view,
    make_verified,
)

from deep_agent.executor.actions.report import Report
from deep_agent.executor.findings import VaryFinding
from deep_agent.executor.report.collect import report_content
from deep_agent.htdag.goal import Spend

BRANCH = "job-1.goal.optimize-1"


def branch_nodes(*more, known=None, **branch):
    return (
        make_node_view("job-1.goal", "goal", state="running", outputs=None),
        make_node_view(BRANCH, "optimize", params={"problem": "problems/double"}, **branch),
        make_node_view(
            f"{BRANCH}.characterize",
            "characterize",
            outputs=(known or make_known()).as_outputs(),
            spend=Spend(device_s=1.0),
        ),
        *more,
    )


def evolve_nodes(*findings):
    return (
        make_node_view(f"{BRANCH}.evolve", "evolve", outputs={"reason": "no better kernel in 24 evaluations"}),
        *(
            make_node_view(
                f"{BRANCH}.evolve.vary-{number:04d}", "vary", outputs=finding.as_outputs(), spend=Spend(evaluations=1)
            )
            for number, finding in enumerate(findings, start=1)
        ),
    )


def collect(*nodes):
    return report_content(make_graph(*nodes), make_goal(), spend=SPEND, written_at="now").problems[0]


def test_a_verified_winner_is_the_answer():
    verify = make_node_view(f"{BRANCH}.verify", "verify", outputs=make_verified().as_outputs())
    content = collect(*branch_nodes(*evolve_nodes(), verify))
    assert content.ending == "faster"
    assert content.answer == make_verified().solution
    assert content.ending_reason == "No better kernel in 24 evaluations."


def test_a_refuted_candidate_leaves_the_library_call():
    verify = make_node_view(f"{BRANCH}.verify", "verify", outputs=make_verified(verdict="refuted").as_outputs())
    content = collect(*branch_nodes(*evolve_nodes(), verify))
    assert (content.ending, content.judged) == ("no_faster", "refuted")
    assert content.answer is not None
    assert content.answer.name == "double-eager-out"


def test_the_last_of_several_verifications_counts():
    first = make_node_view(f"{BRANCH}.verify", "verify", outputs=make_verified(verdict="refuted").as_outputs())
    second = make_node_view(f"{BRANCH}.verify-2", "verify", outputs=make_verified().as_outputs())
    assert collect(*branch_nodes(*evolve_nodes(), first, second)).ending == "faster"


def test_a_problem_that_could_not_be_characterized_says_why():
    nodes = (
        make_node_view(BRANCH, "optimize", params={"problem": "/x/double/"}, state="failed"),
        make_node_view(
            f"{BRANCH}.characterize", "characterize", state="failed", outputs=None, reason="The reference raises."
        ),
    )
    content = collect(*nodes)
    assert (content.ending, content.name, content.ending_reason) == ("failed", "double", "The reference raises.")


def test_a_job_that_stopped_early_is_unfinished():
    assert collect(*branch_nodes(*evolve_nodes())).ending == "unfinished"


def test_every_attempt_is_a_step_and_infrastructure_failures_are_shown():
    good = VaryFinding(outcome="improve", fingerprint="a", seq=0, speedup=1.4, note="seed")
    over = VaryFinding(outcome="nothing_left", fingerprint="b")
    broken = make_node_view(
        f"{BRANCH}.evolve.vary-0009", "vary", state="failed", outputs=None, reason="the judge's zygote is gone."
    )
    content = collect(*branch_nodes(*evolve_nodes(good, over), broken))
    assert [(step.number, step.outcome) for step in content.steps] == [(1, "improve"), (3, "error")]
    assert content.spend == Spend(device_s=1.0, evaluations=2)


def test_what_could_not_be_lowered_is_said():
    over = VaryFinding(outcome="nothing_left", fingerprint="", message="aten.mm cannot be lowered")
    assert "aten.mm cannot be lowered." in collect(*branch_nodes(*evolve_nodes(over))).ending_reason


def test_the_report_is_written_where_its_outputs_say(tmp_path):
    class Reads:
        def graph(self, job_id):
            return make_graph(*branch_nodes(*evolve_nodes()))

    outcome = Report(tmp_path, Reads()).run({}, make_context())
    assert outcome.outputs["report"] == str(tmp_path / "jobs" / "job-1" / "report.html")
    assert (tmp_path / "jobs" / "job-1" / "report.html").read_text().startswith("<!doctype html>")
    assert [path.name for path in (tmp_path / "jobs" / "job-1").iterdir()] == ["report.html"]
