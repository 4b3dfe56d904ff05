"""The snippet of an artefact really loads it, as a program and as a module, away from this project."""

import subprocess
import sys
from pathlib import Path

import pytest
from builders import make_python_solution, make_solution

from deep_agent.executor.artefact.files import Artefact, artefact_files
from deep_agent.executor.findings import CharacterizeFinding

from builders import make_bound, make_characterization, make_device, make_evaluation, make_problem, make_workload  # isort: skip

pytestmark = pytest.mark.integration


def write(folder: Path, solution) -> None:
    known = CharacterizeFinding(
        problem=make_problem(make_workload(rows=33)),
        characterization=make_characterization(),
        bounds=(make_bound(),),
        device=make_device(),
    )
    artefact = Artefact(
        known=known,
        solution=solution,
        evaluation=make_evaluation(),
        figures=None,
        is_library=False,
        made_at="2026-01-02T03:04:05",
        libs={},
    )
    for name, text in artefact_files(artefact).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("solution", [make_solution(), make_python_solution()], ids=["native", "python"])
def test_the_snippet_calls_the_kernel_next_to_the_reference(tmp_path, solution):
    write(tmp_path, solution)
    done = run(tmp_path, "load.py")
    assert done.returncode == 0, done.stderr
    assert "y: 100.0000 % of elements match the reference" in done.stdout
    assert "kernel " in done.stdout


def test_a_wrong_kernel_is_noticed_by_the_snippet(tmp_path):
    write(tmp_path, make_solution(make_solution().sources[0].content.replace("2.0f", "2.1f")))
    done = run(tmp_path, "load.py")
    assert done.returncode == 1
    assert "y differs from the reference" in done.stderr


def test_the_kernel_can_be_imported_and_called(tmp_path):
    write(tmp_path, make_solution())
    done = run(
        tmp_path,
        "-c",
        "import torch; from load import kernel; x = torch.ones(2, 64); y = torch.empty_like(x); kernel(x, y); print(y.sum())",
    )
    assert "256" in done.stdout, done.stderr
