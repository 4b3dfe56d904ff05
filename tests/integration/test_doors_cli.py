"""The command line as a process, with the real engine and toy actions: bad input, Ctrl-C, resuming."""

import json
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from doors_server import PROBLEM, ROOT, command, environment, run_cli

pytestmark = pytest.mark.integration


def wrong(folder: Path, **changes: object) -> str:
    """A copy of a problem with fields of its definition replaced."""
    folder.mkdir()
    definition = json.loads((ROOT / "problems/rmsnorm/definition.json").read_text()) | changes
    (folder / "definition.json").write_text(json.dumps(definition))
    (folder / "workload.jsonl").write_text((ROOT / "problems/rmsnorm/workload.jsonl").read_text())
    return str(folder)


def n_jobs(home: Path) -> int:
    return len(json.loads(run_cli(home, "jobs", "list", "--json").stdout)["jobs"])


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "file.txt").write_text("no folder")
    (folder / "garbled").mkdir()
    (folder / "garbled/definition.json").write_text("{not json")
    wrong(folder / "no_run", reference="x = 1\n")
    wrong(folder / "no_name", name="")
    (folder / "solution.json").write_text('{"name": "half"}')
    return folder


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("optimize", "{in}/absent"), "absent"),
        (("optimize", "{in}/garbled"), "garbled/definition.json"),
        (("optimize", "{in}/no_run"), "reference"),
        (("optimize", "{in}/no_name"), "name"),
        (("optimize", PROBLEM, "--device", "tpu"), "tpu"),
        (("optimize", PROBLEM, "--budget", "soon"), "soon"),
        (("optimize", PROBLEM, "--operator", "magic"), "operator"),
        (("optimize", PROBLEM, "--webhook", "http://10.0.0.1/"), "10.0.0.1"),
        (("optimize", PROBLEM, "--out", "{in}/file.txt/out"), "file.txt"),
        (("optimize",), "PROBLEM"),
        (("evaluate", PROBLEM, "--solution", "{in}/absent.json"), "absent.json"),
        (("evaluate", PROBLEM, "--solution", "{in}/solution.json"), "solution.json"),
        (("import", "kernelbench", "{in}/absent.py"), "absent.py"),
        (("jobs", "show", "nosuchjob"), "nosuchjob"),
        (("jobs", "resume", "nosuchjob"), "nosuchjob"),
        (("jobs", "events", "nosuchjob"), "nosuchjob"),
        (("serve", "--host", "0.0.0.0"), "DEEP_AGENT_API_KEY"),
        (("serve", "--port", "99999"), "DEEP_AGENT_PORT"),
    ],
)
def test_bad_input_ends_with_code_2_a_name_and_no_traceback(inputs: Path, tmp_path: Path, arguments, named) -> None:
    done = run_cli(tmp_path / "home", *(part.replace("{in}", str(inputs)) for part in arguments))
    said = re.sub(r"\s+", "", done.stderr)
    assert done.returncode == 2, done.stderr
    assert named in said
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_refused_goal_leaves_no_job(inputs: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert run_cli(home, "optimize", PROBLEM, str(inputs / "garbled")).returncode == 2
    assert n_jobs(home) == 0


def test_a_reference_found_wanting_in_the_work_is_bad_input_with_its_reason(tmp_path: Path) -> None:
    done = run_cli(tmp_path / "home", "optimize", wrong(tmp_path / "broken"), "--json")
    assert done.returncode == 2
    (problem,) = json.loads(done.stdout)["problems"]
    assert problem["verdict"] == "failed"
    assert "returns NaN" in problem["message"]


def test_an_honest_end_with_the_library_is_a_success(tmp_path: Path) -> None:
    done = run_cli(tmp_path / "home", "optimize", wrong(tmp_path / "gemm"), "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "no faster kernel found" in done.stdout
    assert (tmp_path / "out/report.html").is_file()
    assert (tmp_path / "out/gemm/solution.json").is_file()


def test_ctrl_c_keeps_what_was_found_and_resume_goes_on(tmp_path: Path) -> None:
    home = tmp_path / "home"
    running = subprocess.Popen(
        command("optimize", PROBLEM), env=environment(home), cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    with running:
        for line in running.stderr:
            if "3 tried" in line or "4 tried" in line:
                break
        running.send_signal(signal.SIGINT)
        asked_s = time.monotonic()
        rest = running.stderr.read()
        running.wait()
    # Two seconds are promised; the margin is for a machine that is busy with other things.
    assert time.monotonic() - asked_s < 6
    assert running.returncode == 130
    job = re.search(r"deep-agent jobs resume (\S+)", rest)[1]
    kept = json.loads(run_cli(home, "jobs", "show", job, "--json").stdout)
    assert kept["status"] == "paused"
    assert kept["problems"][0]["versions"] >= 3
    done = run_cli(home, "jobs", "resume", job, "--json")
    assert done.returncode == 0, done.stderr
    ended = json.loads(done.stdout)
    assert (ended["status"], ended["problems"][0]["versions"]) == ("succeeded", 12)


def test_a_second_ctrl_c_leaves_at_once(tmp_path: Path) -> None:
    running = subprocess.Popen(
        command("optimize", PROBLEM), env=environment(tmp_path / "home"), cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    with running:
        for line in running.stderr:
            if "searching" in line:
                break
        running.send_signal(signal.SIGINT)
        time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        said = running.stderr.read()
        # Either our handler ends it, or the interpreter, when it was already on its way out.
        assert running.wait(10) in {130, -signal.SIGINT}, said
    assert "Traceback" not in said


def test_evaluate_bound_and_doctor_answer_in_json(tmp_path: Path) -> None:
    from builders import make_solution

    home, file = tmp_path / "home", tmp_path / "solution.json"
    file.write_text(make_solution().model_dump_json())
    judged = run_cli(home, "evaluate", PROBLEM, "--solution", str(file), "--json")
    assert (judged.returncode, json.loads(judged.stdout)["verdict"]) == (0, "PASSED")
    file.write_text(make_solution(name="bad").model_dump_json())
    assert run_cli(home, "evaluate", PROBLEM, "--solution", str(file), "--json").returncode == 1
    bounds = json.loads(run_cli(home, "bound", PROBLEM, "--device", "cpu", "--json").stdout)
    assert bounds["workloads"][0]["limiter"] == "memory"
    checked = json.loads(run_cli(home, "doctor", "--json").stdout)
    assert {"g++", "torch", "disk", "dispatcher"} <= {check["name"] for check in checked["checks"]}


def test_the_secret_is_printed_and_stays(tmp_path: Path) -> None:
    first, second = (run_cli(tmp_path / "home", "webhook-secret").stdout.strip() for _ in range(2))
    assert first.startswith("whsec_")
    assert first == second
