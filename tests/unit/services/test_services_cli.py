import json
import subprocess
import sys
from pathlib import Path

import pytest
from builders import make_evaluation, make_workload_evaluation
from hypothesis import given
from hypothesis import strategies as st
from services_builders import JOB, T0, make_graph, make_node, make_view

from deep_agent.errors import HarnessFailed, InvalidInput, MissingTool, NotFound, ResourceExhausted
from deep_agent.problem.trace import EvaluationStatus
from services.cli import logs, serve, terminal
from services.cli.closing import as_json, check_out, copied
from services.cli.durations import parse_duration, write_duration
from services.cli.inspect import evaluation_json
from services.cli.optimize import Request, goal_of
from services.cli.progress import headline, news, rows


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("2m", 120), ("1h30m", 5400), ("1.5h", 5400), ("45", 45), (" 2M ", 120), ("500ms", 0.5)],
)
def test_a_duration_reads_as_people_write_it(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0", "0s", "-5s", "2 minutes", "m", "1m1m", "1d", "9999999h", "1h 30", "nan", "∞"]
)
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_duration(text)
    assert "90s" in caught.value.remedy


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59))
def test_writing_a_duration_keeps_every_second(hours: int, minutes: int, seconds: int) -> None:
    parts = write_duration(hours * 3600 + minutes * 60 + seconds).split(":")
    assert [int(part) for part in parts][-2:] == [minutes, seconds]
    assert (int(parts[0]) == hours) if hours else (len(parts) == 2)


@pytest.mark.parametrize(
    "secret", ["whsec_c2VjcmV0c2VjcmV0", "Bearer abcdefgh12345678", "basic YTpsb25nc2VjcmV0", "https://u:hunter22@h/"]
)
def test_a_log_line_never_holds_a_secret(secret: str) -> None:
    shown = logs.redact(f"before {secret} after")
    assert logs.HIDDEN in shown
    assert shown.startswith("before ")
    assert "hunter22" not in shown
    assert secret.rsplit(maxsplit=1)[-1] not in shown


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidInput("x"), 2),
        (MissingTool("x"), 2),
        (ResourceExhausted("x"), 2),
        (NotFound("x"), 2),
        (HarnessFailed("x"), 1),
    ],
)
def test_the_exit_code_says_who_can_mend_it(error, code: int) -> None:
    assert terminal.exit_code(error) == code


def request(**changes) -> Request:
    given = {"problems": ("a",), "budget_s": 60, "device": "cpu", "operator": "auto", "seed": 0, "webhook": None}
    return Request.model_validate(given | changes)


def test_folders_become_absolute_and_names_stay_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    goal = goal_of(request(problems=("mine", "rmsnorm", "./mine", "no/such")))
    assert goal.problems == (str(tmp_path / "mine"), "rmsnorm", str(tmp_path / "no" / "such"))


def test_a_flag_out_of_range_is_named() -> None:
    with pytest.raises(InvalidInput, match="--operator"):
        goal_of(request(operator="magic"))


def test_the_published_object_has_the_agreed_shape() -> None:
    shown = as_json(make_view())
    assert set(shown) == {"job", "status", "problems", "spend", "report"}
    (problem,) = shown["problems"]
    assert set(problem) >= {"problem", "device", "baseline", "best", "versions", "evaluations", "verdict"}
    assert set(problem["baseline"]) == {"name", "time_us"}
    assert set(problem["best"]) == {"time_us", "speedup", "speedup_ci", "sol_score", "percent_of_sol", "solution"}
    assert set(shown["spend"]) == {"wall_s", "device_s", "evaluations", "tokens", "usd"}
    json.dumps(shown)


def test_the_published_evaluation_has_the_agreed_shape() -> None:
    failed = make_workload_evaluation(
        "w2", status=EvaluationStatus.TIMEOUT, correctness=None, candidate=None, baseline=None, speedup=None, score=None
    )
    found = make_evaluation(make_workload_evaluation(), failed, status="TIMEOUT", message="too slow")
    shown = evaluation_json(found, problem="double", solution="mine")
    assert set(shown) == {"problem", "solution", "verdict", "message", "workloads"}
    assert [set(one) for one in shown["workloads"]] == [
        {"uuid", "status", "time_us", "speedup", "speedup_ci", "sol_score"}
    ] * 2
    assert shown["workloads"][1]["time_us"] is None
    assert shown["verdict"] == "TIMEOUT"


def test_results_are_copied_with_their_new_paths(tmp_path: Path) -> None:
    kept = tmp_path / "home" / "rmsnorm"
    kept.mkdir(parents=True)
    (kept / "solution.json").write_text("{}")
    (tmp_path / "home" / "report.html").write_text("report")
    view = make_view()
    one = view.problems[0].model_copy(update={"artefact": str(kept)})
    job = copied(
        view.model_copy(update={"problems": (one,), "report": str(tmp_path / "home" / "report.html")}), tmp_path / "out"
    )
    assert job.report == str(tmp_path / "out" / "report.html")
    assert as_json(job)["problems"][0]["best"]["solution"] == str(tmp_path / "out" / "rmsnorm" / "solution.json")


def test_an_out_folder_below_a_file_is_refused_and_nothing_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="file"):
        check_out(tmp_path / "file" / "out")
    check_out(tmp_path / "new" / "deep")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_progress_says_step_count_and_best() -> None:
    (row,) = rows(make_view(), make_graph())
    assert (row.problem, row.step, row.tried) == ("rmsnorm", "searching", 9)
    assert row.best.startswith("1.84x the speed of torch compile")


def test_counters_alone_are_no_news() -> None:
    before = rows(make_view(), make_graph())
    assert len(news((), before)) == 1
    assert news(before, tuple(row.model_copy(update={"tried": row.tried + 1}) for row in before)) == ()
    assert len(news(before, tuple(row.model_copy(update={"best": "2.00x"}) for row in before))) == 1


def test_the_headline_says_how_much_time_is_left() -> None:
    assert "1:16 left" in headline(make_view(), now_s=T0 + 44)
    assert "finishing" in headline(make_view(), now_s=T0 + 200)
    assert "paused" in headline(make_view(status="paused", paused_s=T0 + 10), now_s=T0 + 44)
    assert "succeeded after 1:30" in headline(make_view(status="succeeded", ended_s=T0 + 90), now_s=T0 + 500)


@pytest.mark.parametrize(("attempt", "refused"), [(1, True), (2, True), (5, False)])
def test_bad_input_is_told_from_infrastructure_that_gave_out(attempt: int, refused: bool) -> None:
    from services_builders import make_job

    from services.views import job_view

    root = f"{JOB}.goal.optimize-1"
    states = {root: "failed", f"{root}.characterize": "failed"}
    nodes = tuple(
        node.model_copy(update={"state": make_node("a.b", states[node.id]).state, "attempt": attempt})
        if node.id in states
        else node
        for node in make_graph().nodes
    )
    view = job_view(make_job(), make_graph().model_copy(update={"nodes": nodes}), ())
    assert view.problems[0].refused is refused


def test_a_failed_problem_shows_the_cause_and_not_the_consequence() -> None:
    from services_builders import make_job

    from services.views import job_view

    root = f"{JOB}.goal.optimize-1"
    graph = make_graph()
    nodes = [
        make_node(root, "failed", kind="composite", params={"problem": "/p/rmsnorm"}, reason="characterize: x")
        if node.id == root
        else make_node(node.id, "failed", reason="the reference returns NaN. Correct it.")
        if node.name == "characterize"
        else node
        for node in graph.nodes
    ]
    view = job_view(make_job(), graph.model_copy(update={"nodes": tuple(nodes)}), ())
    assert view.problems[0].verdict == "failed"
    assert view.problems[0].message == "the reference returns NaN. Correct it."


def test_a_taken_port_names_itself_and_the_next_step() -> None:
    with serve.bind("127.0.0.1", 0) as held:
        port = held.getsockname()[1]
        with pytest.raises(ResourceExhausted, match=f"port {port}") as caught:
            serve.bind("127.0.0.1", port)
    assert f"--port {port + 1}" in caught.value.remedy


def test_a_host_that_is_not_here_is_bad_input() -> None:
    with pytest.raises(InvalidInput, match=r"192\.0\.2\.1"):
        serve.bind("192.0.2.1", 0)


def test_help_loads_neither_torch_nor_the_server_nor_the_database() -> None:
    heavy = "{'torch', 'fastapi', 'starlette', 'uvicorn', 'sqlalchemy', 'numpy', 'httpcore', 'dulwich', 'tvm_ffi'}"
    program = (
        "import sys; from typer.testing import CliRunner; from services.cli.commands import app; "
        f"result = CliRunner().invoke(app, ['--help']); print(result.exit_code, {heavy} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0 set()"
