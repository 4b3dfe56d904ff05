"""The main job through the real command line, judge and search, on a problem small enough for a test."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from builders import make_definition, make_workload

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def deep_agent(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("DEEP_AGENT_")}
    return subprocess.run(
        [sys.executable, "-m", "services.cli.main", *arguments],
        check=False,
        env=kept | {"DEEP_AGENT_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=400,
        cwd=Path(__file__).parents[2],
    )


@pytest.fixture
def problem(tmp_path: Path) -> str:
    folder = tmp_path / "double"
    folder.mkdir()
    (folder / "definition.json").write_text(make_definition().model_dump_json())
    rows = [make_workload("w1", rows=512), make_workload("w2", rows=333)]
    (folder / "workload.jsonl").write_text("".join(row.model_dump_json() + "\n" for row in rows))
    return str(folder)


def test_the_main_job_ends_with_an_answer_that_passes_again(problem: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = deep_agent(home, "optimize", problem, "--device", "cpu", "--budget", "40s", "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout)
    (one,) = found["problems"]
    assert one["verdict"] in {"verified", "no faster kernel found"}
    assert Path(found["report"]).is_file()
    judged = deep_agent(home, "evaluate", problem, "--solution", one["best"]["solution"], "--device", "cpu", "--json")
    assert judged.returncode == 0, judged.stderr + judged.stdout
    assert json.loads(judged.stdout)["verdict"] == "PASSED"


def test_a_reference_that_returns_nan_ends_with_its_name_and_no_answer(problem: str, tmp_path: Path) -> None:
    nan = make_definition(reference="def run(x):\n    return x * float('nan')\n")
    (Path(problem) / "definition.json").write_text(nan.model_dump_json())
    done = deep_agent(tmp_path / "home", "optimize", problem, "--device", "cpu", "--budget", "20s", "--json")
    assert done.returncode == 2, done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert "nan" in (done.stderr + done.stdout).lower()
