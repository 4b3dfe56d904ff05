"""What a confined process still sees of the files, tried in a process of its own."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration

CONFINED = """
import json, os, sys
from pathlib import Path
from deep_agent.harness.sandbox.confine import enter_namespaces, seal_files

needed, hidden, beside = map(Path, sys.argv[1:])
assert enter_namespaces()
if os.fork() == 0:
    held, failed = seal_files(2**20, (str(hidden),), (str(needed),))
    def refuses(path):
        try:
            path.write_text("changed")
        except OSError:
            return True
        return False
    print(json.dumps({
        "failed": failed,
        "needed": (needed / "module.py").read_text(),
        "needed is read-only": refuses(needed / "module.py"),
        "hidden": os.listdir(hidden) if hidden.exists() else [],
        "beside": beside.exists(),
        "scratch is writable": not refuses(Path("/tmp/mine")),
    }), flush=True)
    os._exit(0)
os.wait()
"""


@pytest.fixture
def seen(tmp_path):
    folders = [tmp_path / name for name in ("needed", "needed/hidden", "beside")]
    for folder in folders:
        folder.mkdir()
        (folder / "module.py").write_text("kept")
    ran = subprocess.run(
        [sys.executable, "-c", CONFINED, *map(str, folders)], capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(ran.stdout)


def test_folders_that_python_needs_stay_visible_under_the_scratch_and_cannot_be_changed(seen):
    assert (seen["needed"], seen["needed is read-only"], seen["failed"]) == ("kept", True, [])


def test_the_judges_folders_and_everything_else_under_the_scratch_are_gone(seen):
    assert (seen["hidden"], seen["beside"]) == ([], False)


def test_the_scratch_can_be_written(seen):
    assert seen["scratch is writable"]
