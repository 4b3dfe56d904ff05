"""The import contracts hold, and each of them breaks when it is broken."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINTER = Path(sys.executable).with_name("lint-imports")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the packages in a folder against the contracts in it."""
    return subprocess.run(
        [LINTER, "--no-cache"],
        cwd=folder,
        env=dict(os.environ) | {"PYTHONPATH": str(folder), "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def copy_sources(folder: Path) -> None:
    for package in ("deep_agent", "services"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", folder)


def test_every_contract_holds():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


BAD_IMPORTS = {
    "clock in a pure module": ("deep_agent/htdag/moves.py", "import time", "What decides reaches neither"),
    "import hidden in a function": (
        "deep_agent/planner/method.py",
        "def _hidden():\n    import subprocess",
        "What decides reaches neither",
    ),
    "adapter in a capability": (
        "deep_agent/executor/submit.py",
        "from deep_agent import storage",
        "imports run down",
    ),
    "adapter in a door": ("services/cli/__init__.py", "import deep_agent.storage", "Only bootstrap names an adapter"),
    "stranger in a room": ("deep_agent/planner/method.py", "import deep_agent.evolution", "imports run down"),
    "torch in storage": ("deep_agent/storage/__init__.py", "import torch", "torch is loaded in"),
    "database in the API": ("services/api/__init__.py", "import sqlmodel", "SQL lives in storage"),
    "door in a door": ("services/api/__init__.py", "import services.cli.main", "Doors are strangers"),
    "settings in a capability": ("deep_agent/executor/submit.py", "import deep_agent.settings", "imports run down"),
    "judge in the child": (
        "deep_agent/harness/sandbox/child.py",
        "from deep_agent.harness.answers import compare",
        "holds no judging code",
    ),
    "circle inside a room": (
        "deep_agent/problem/axes.py",
        "def _later():\n    import deep_agent.problem.definition",
        "in a circle",
    ),
    "unplaced package": ("deep_agent/stray/__init__.py", '"""Nobody placed this room."""', "Every room is placed"),
    "unplaced door": ("services/stray.py", '"""Nobody placed this door."""', "every door is placed"),
}


@pytest.mark.parametrize("case", BAD_IMPORTS)
def test_a_bad_import_breaks_the_build(tmp_path, case):
    path, line, contract = BAD_IMPORTS[case]
    copy_sources(tmp_path)
    target = tmp_path / path
    target.parent.mkdir(exist_ok=True)
    with target.open("a") as file:
        file.write(f"\n{line}\n")
    done = lint(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    said = done.stdout + done.stderr
    broken = [row for row in said.splitlines() if " BROKEN" in row]
    # A child of a package nobody placed is reported when contracts are read, before any is checked.
    assert any(contract in row for row in broken) or "stray" in said, said


@pytest.mark.parametrize("door", ["services.api.app", "services.cli.main"])
def test_a_door_starts_without_torch(door):
    program = f"import sys, {door}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr or "torch was loaded"
