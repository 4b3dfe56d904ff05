"""A profile of real solutions through the real command line: what holds them back, or why there is none."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sets_on_disk import CPP, EAGER, ROOT, TRITON, WRONG, solution, write_set

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("profiles")
    write_set(folder)
    return folder


def profile(folder: Path, language: str, source: str, *more: str) -> subprocess.CompletedProcess[str]:
    (folder / "one.json").write_text(json.dumps(solution("one", "softmax", language, source)))
    kept = {key: value for key, value in os.environ.items() if not key.startswith("DEEP_AGENT_")}
    command = [sys.executable, "-m", "services.cli.main", "profile", str(folder / "problems/L1/softmax")]
    return subprocess.run(
        [*command, "--solution", str(folder / "one.json"), "--device", "cpu", *more],
        check=False,
        env=kept | {"DEEP_AGENT_HOME": str(folder / "home")},
        capture_output=True,
        text=True,
        timeout=200,
        cwd=ROOT,
    )


def test_a_compiled_solution_is_explained_by_its_loops(folder):
    done = profile(folder, "cpp", CPP, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["kind"], found["workload"]) == ("profile", "softmax-0")
    assert found["bottleneck"] in {"scalar", "latency", "memory"}
    assert len(found["evidence"]) == 3
    assert all(figure["value"] is not None for figure in found["evidence"])
    built = {figure["name"]: figure["value"] for figure in found["resources"]}
    assert built["innermost loops"] >= 3
    assert built["calls in them"] >= 1
    assert any("k.cpp:" in note for note in found["notes"])
    counted = {figure["name"] for figure in found["counters"]}
    # Without perf, or without leave to use it, the note says so and nothing is made up.
    assert "task-clock a call" in counted or any("nothing was counted" in note for note in found["notes"])


def test_a_python_solution_is_explained_by_its_calls(folder):
    done = profile(folder, "pytorch", EAGER, "--workload", "softmax-1")
    assert done.returncode == 0, done.stderr
    assert "softmax-1: bottleneck: " in done.stdout
    assert "not compiled ahead" in done.stdout


@pytest.mark.parametrize(
    ("language", "source", "words"),
    [
        ("pytorch", WRONG, "INCORRECT_NUMERICAL"),
        ("cpp", "int run( {", "COMPILE_ERROR k.cpp:1:"),
        ("triton", TRITON, "COMPILE_ERROR `triton` does not run on a CPU device."),
        ("pytorch", "def run(x):\n    raise ValueError('no luck')\n", "RUNTIME_ERROR"),
    ],
)
def test_a_solution_that_does_not_compute_has_no_profile_and_a_reason(folder, language, source, words):
    done = profile(folder, language, source)
    assert done.returncode == 1, done.stderr
    assert f"not profiled: {words}" in done.stdout


def test_an_unknown_workload_is_bad_input_that_names_the_known_ones(folder):
    done = profile(folder, "pytorch", EAGER, "--workload", "nope")
    assert done.returncode == 2
    assert "softmax-0, softmax-1" in done.stderr
