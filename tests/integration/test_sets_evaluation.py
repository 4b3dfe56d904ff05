"""A whole set through the real command line and the real judge, interrupted once and gone on with."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from sets_on_disk import EAGER, ROOT, solution, write_set

from deep_agent.problem.readers import read_traces, write_traces
from deep_agent.problem.trace import Trace

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def command(folder: Path) -> list[str]:
    program = [sys.executable, "-m", "services.cli.main", "evaluate", str(folder / "problems")]
    return [
        *program,
        "--solutions",
        str(folder / "solutions"),
        "--out",
        str(folder / "traces.jsonl"),
        "--device",
        "cpu",
    ]


def environment(folder: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("DEEP_AGENT_")}
    return kept | {"DEEP_AGENT_HOME": str(folder / "home")}


def judge(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command(folder), *more],
        check=False,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A set whose judging was interrupted after its second solution, and then run to the end."""
    folder = tmp_path_factory.mktemp("set")
    write_set(folder)
    running = subprocess.Popen(command(folder), env=environment(folder), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    with running:
        for line in running.stderr:
            if line.startswith("[2/"):
                break
        running.send_signal(signal.SIGINT)
        said = running.stderr.read()
        assert running.wait(30) == 130
        assert "The same command goes on from there." in said
        assert "Traceback" not in said
    (folder / "interrupted.jsonl").write_bytes((folder / "traces.jsonl").read_bytes())
    with (folder / "traces.jsonl").open("a") as torn:
        torn.write('{"definition": "softmax", "workl')
    (folder / "resumed.json").write_text(json.dumps(vars(judge(folder, "--json")), default=str))
    return folder


def resumed(folder: Path) -> dict:
    return json.loads((folder / "resumed.json").read_text())


def test_every_solution_gets_a_row_a_workload_with_its_own_status(folder):
    rows = read_traces(folder / "traces.jsonl")
    statuses = {(row.solution, row.workload.uuid): row.evaluation.status.value for row in rows}
    assert len(statuses) == len(rows) == 13
    by_solution = {name: {status for (who, _), status in statuses.items() if who == name} for name, _ in statuses}
    assert by_solution == {
        "cpp-softmax": {"PASSED"},
        "the-same-again": {"PASSED"},
        "eager-rmsnorm": {"PASSED"},
        "wrong-softmax": {"INCORRECT_NUMERICAL"},
        "broken-softmax": {"COMPILE_ERROR"},
        "triton-softmax": {"COMPILE_ERROR"},
        "cuda-softmax": {"COMPILE_ERROR"},
    }


def test_an_interruption_keeps_rows_which_the_next_run_leaves_as_they_are(folder):
    before, after = ((folder / name).read_bytes() for name in ("interrupted.jsonl", "traces.jsonl"))
    assert before.count(b"\n") >= 3
    assert after.startswith(before)
    told = json.loads(resumed(folder)["stdout"])
    assert told["n_kept"] == before.count(b"\n")
    assert told["n_written"] == 13 - told["n_kept"]


def test_the_file_is_what_our_own_writer_of_the_public_format_writes(folder, tmp_path):
    write_traces(tmp_path / "again.jsonl", read_traces(folder / "traces.jsonl"))
    assert (tmp_path / "again.jsonl").read_bytes() == (folder / "traces.jsonl").read_bytes()
    schema = set(Trace.model_json_schema()["properties"])
    assert all(set(json.loads(line)) == schema for line in (folder / "traces.jsonl").read_text().splitlines())


def test_every_row_that_failed_says_why(folder):
    logs = {row.solution: row.evaluation.log for row in read_traces(folder / "traces.jsonl")}
    assert "elements are off" in logs["wrong-softmax"]
    assert "k.cpp:1:" in logs["broken-softmax"]
    assert logs["triton-softmax"] == "`triton` does not run on a CPU device. Use `cpp` or `pytorch`, or another device."


def test_what_could_not_take_part_is_named_with_its_reason_and_ends_with_code_1(folder):
    done = resumed(folder)
    told = json.loads(done["stdout"])
    assert done["returncode"] == 1
    reasons = {Path(one["place"]).parent.name: one["reason"] for one in told["refused"]}
    assert set(reasons) == {"elsewhere", "garbled"}
    assert "no_such_problem" in reasons["elsewhere"]
    assert "is not JSON" in reasons["garbled"]
    assert len(told["same_content"]) == 1
    assert told["statuses"] == {"COMPILE_ERROR": 6, "INCORRECT_NUMERICAL": 2, "PASSED": 5}


def test_a_set_that_is_done_is_only_counted(folder):
    before = (folder / "traces.jsonl").read_bytes()
    done = judge(folder)
    assert done.returncode == 1
    assert (folder / "traces.jsonl").read_bytes() == before
    assert "0 written and 13 kept" in done.stdout
    counted = Counter(line.split()[0] for line in done.stdout.splitlines() if line.strip())
    assert counted["PASSED"] == counted["COMPILE_ERROR"] == 1
    assert "7 of 7 solutions have all their rows already" in done.stderr


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("--solution", "one.json"), "--solution FILE, or"),
        (("--solutions", "/nonexistent"), "/nonexistent"),
        (("--device", "tpu"), "tpu"),
        (("--out", "/dev/null/traces.jsonl"), "/dev/null/traces.jsonl"),
    ],
)
def test_bad_input_ends_with_code_2(folder, change, named):
    done = judge(folder, *change)
    assert done.returncode == 2, done.stderr
    assert named in done.stderr
    assert "Traceback" not in done.stderr


def test_a_set_whose_rows_all_pass_ends_with_code_0(tmp_path):
    problems, solutions = write_set(tmp_path)
    for file in solutions.rglob("*.json"):
        file.unlink()
    (solutions / "solution.json").write_text(json.dumps(solution("eager", "softmax", "pytorch", EAGER)))
    assert problems.is_dir()
    assert judge(tmp_path).returncode == 0
