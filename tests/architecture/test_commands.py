"""The list of commands is complete, and a machine that lacks something is told what and how to get it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SH = shutil.which("sh") or "/bin/sh"


def preflight(step: str, tools: Path, *, python: str = "") -> subprocess.CompletedProcess[str]:
    """Run the check with nothing on the PATH but what `tools` holds."""
    return subprocess.run(
        [SH, ROOT / "scripts" / "preflight.sh", step],
        cwd=tools,
        env={"PATH": str(tools), "PYTHON": python},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.fixture
def tools(tmp_path):
    """A machine with `id` and nothing else."""
    (tmp_path / "id").symlink_to(shutil.which("id") or "/usr/bin/id")
    return tmp_path


def add(tools: Path, name: str, body: str = "exit 0") -> None:
    script = tools / name
    script.write_text(f"#!{SH}\n{body}\n")
    script.chmod(0o755)


def test_make_prints_every_command():
    said = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True).stdout
    (phony,) = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert re.findall(r"^  make (\w+)", said, flags=re.MULTILINE) == phony.split()


def test_the_readme_and_the_gate_call_commands_that_exist():
    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for path in ("README.md", "AGENTS.md", ".ci/run"):
        called = re.findall(r"(?:^|`)make ([a-z]+)", (ROOT / path).read_text(), flags=re.MULTILINE)
        assert set(called) <= known, path


def test_a_machine_with_nothing_is_told_everything(tools):
    done = preflight("build", tools)
    assert done.returncode == 1
    assert "missing: g++" in done.stderr
    assert "missing: git" in done.stderr
    assert done.stderr.count("get it: ") == 2


def test_the_way_to_get_it_fits_the_package_manager(tools):
    add(tools, "dnf")
    add(tools, "git")
    assert "dnf install -y gcc-c++" in preflight("build", tools).stderr


def test_an_unsuitable_python_is_passed_over(tools):
    add(tools, "python3", "exit 1")
    done = preflight("python", tools)
    assert done.returncode == 1
    assert "missing: Python 3.11" in done.stderr
    add(tools, "python3.12")
    assert preflight("python", tools).stdout == f"{tools}/python3.12\n"
    add(tools, "mine")
    assert preflight("python", tools, python=f"{tools}/mine").stdout == f"{tools}/mine\n"


def test_tests_without_a_browser_fail_with_a_way_to_get_one(tools):
    assert "missing: Chromium" in preflight("test", tools).stderr
    add(tools, "google-chrome")
    assert preflight("test", tools).returncode == 0


def test_a_python_without_headers_is_told_before_the_tests(tools):
    add(tools, "google-chrome")
    add(tools, "python3", 'case "$*" in *Python.h*) exit 1 ;; esac')
    done = preflight("test", tools)
    assert done.returncode == 1
    assert "missing: Python headers" in done.stderr
    assert preflight("build", tools).stderr.count("note: no Python headers") == 1


def test_an_unknown_step_is_refused(tools):
    assert preflight("fly", tools).returncode == 2
