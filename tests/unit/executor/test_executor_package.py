"""What an artefact holds, and how it is put down."""

from pathlib import Path

import pytest
from builders import make_bound, make_characterization, make_evaluation, make_goal, make_workload_evaluation
from executor_report_builders import make_context, make_known, make_verified

from deep_agent.errors import ResourceExhausted
from deep_agent.executor.action import Interrupted
from deep_agent.executor.actions.package import Package
from deep_agent.executor.findings import PackageFinding, best_figures, verify_outputs
from deep_agent.executor.folder import JobFolder, put
from deep_agent.problem.evaluation import ArmTiming
from deep_agent.problem.solution import Solution
from deep_agent.problem.trace import EvaluationStatus, Trace


def pack(home, known=None, verified=None, **context):
    inputs = {"characterize": (known or make_known()).as_outputs(), "evolve": {}}
    if verified is not None:
        inputs["verify"] = verified.as_outputs()
    return PackageFinding.model_validate(Package(home).run(inputs, make_context(**context)).outputs)


def test_the_artefact_holds_the_winner_its_sources_and_its_evidence(tmp_path):
    finding = pack(tmp_path, verified=make_verified())
    folder = Path(finding.path)
    assert Solution.model_validate_json((folder / "solution.json").read_text()) == make_verified().solution
    assert (folder / "source" / "kernel.cpp").read_text().startswith("#include")
    assert "1.50 times as fast as eager_out (95 % interval 1.455 to 1.545)" in (folder / "README.txt").read_text()
    assert set(finding.files) == {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_traces_read_back_in_the_public_format(tmp_path):
    failed = make_workload_evaluation(
        status=EvaluationStatus.RUNTIME_ERROR,
        correctness=None,
        candidate=None,
        baseline=None,
        speedup=None,
        message="x",
    )
    for one in (make_workload_evaluation(), failed):
        finding = pack(tmp_path, verified=make_verified(evaluation=make_evaluation(one)))
        (line,) = (Path(finding.path) / "traces.jsonl").read_text().splitlines()
        trace = Trace.model_validate_json(line)
        assert trace.evaluation is not None
        assert trace.evaluation.status is one.status
        assert (trace.evaluation.performance is not None) == (one.status is EvaluationStatus.PASSED)


@pytest.mark.parametrize(("named", "told"), [("", "cpu"), ("NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3")])
def test_a_trace_names_a_card_as_its_maker_does(tmp_path, named, told):
    evaluation = make_evaluation(make_workload_evaluation()).model_copy(update={"hardware": named})
    finding = pack(tmp_path, verified=make_verified(evaluation=evaluation))
    (line,) = (Path(finding.path) / "traces.jsonl").read_text().splitlines()
    found = Trace.model_validate_json(line).evaluation
    assert found is not None
    assert found.environment.hardware == told


def test_packing_twice_leaves_the_same_files(tmp_path):
    first = pack(tmp_path, verified=make_verified())
    before = {path: path.read_bytes() for path in Path(first.path).rglob("*") if path.is_file()}
    assert pack(tmp_path, verified=make_verified()) == first
    assert before == {path: path.read_bytes() for path in Path(first.path).rglob("*") if path.is_file()}


@pytest.mark.parametrize("verified", [None, make_verified(verdict="refuted")])
def test_without_a_winner_the_library_call_is_packed(tmp_path, verified):
    finding = pack(tmp_path, verified=verified)
    assert "evaluation.json" not in finding.files
    assert "torch.mul" in (Path(finding.path) / "source" / "main.py").read_text()
    assert "No faster kernel was found" in (Path(finding.path) / "README.txt").read_text()


def test_nothing_to_pack_leaves_no_folder(tmp_path):
    known = make_known(characterization=make_characterization(baselines=(), best={}))
    assert pack(tmp_path, known=known).path == ""
    assert list(tmp_path.iterdir()) == []


def test_a_cancelled_job_packs_nothing(tmp_path):
    with pytest.raises(Interrupted):
        pack(tmp_path, verified=make_verified(), cancelled=lambda: True)
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_home_is_said_so_and_leaves_nothing_staged(tmp_path):
    (tmp_path / "jobs").write_text("a file where a folder should be")
    with pytest.raises(ResourceExhausted, match=r"jobs.*DEEP_AGENT_HOME"):
        pack(tmp_path, verified=make_verified())
    blocked = tmp_path / "blocked"
    (blocked / "name").mkdir(parents=True)
    with pytest.raises(ResourceExhausted):
        put(blocked / "name", "text")
    assert [path.name for path in blocked.iterdir()] == ["name"]


def test_names_that_leave_the_folder_are_tamed(tmp_path):
    folder = JobFolder(tmp_path, "job-1")
    tamed = folder.problem(make_goal(), "problems/double", "../../etc/x y")
    assert tamed.parent == tmp_path / "jobs" / "job-1"
    two = make_goal(problems=("a/double", "b/double"))
    assert folder.problem(two, "a/double", "double") != folder.problem(two, "b/double", "double")


def test_the_last_verification_is_taken():
    assert verify_outputs({"characterize": {}, "verify": {"n": 1}, "verify-2": {"n": 2}}) == {"n": 2}
    assert verify_outputs({"characterize": {}}) is None


def test_published_figures_are_geometric_means_over_workloads():
    slow = make_workload_evaluation("w2", candidate=ArmTiming(time_us=80.0, cpu_us=80.0))
    figures = best_figures(make_evaluation(make_workload_evaluation(), slow), (make_bound(), make_bound("w2", 20.0)))
    assert figures is not None
    assert figures.time_us == pytest.approx(40)
    assert figures.percent_of_sol == pytest.approx(100 * (0.5 * 0.25) ** 0.5)
    assert make_known().as_outputs()["baseline"] == {"name": "eager_out", "time_us": pytest.approx(30)}
