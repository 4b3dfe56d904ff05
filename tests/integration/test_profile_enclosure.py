"""What a program in an enclosure can reach: a loopback and a scratch of its own, and nothing of the machine's."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from deep_agent.errors import HarnessFailed
from deep_agent.harness.folders import PROGRAM_PATH
from deep_agent.harness.profiling.counting import _enclosed

pytestmark = pytest.mark.integration

PROBE = """
import errno, json, os, socket, sys
from pathlib import Path

hidden, beside, port, needed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])

def refused(act):
    try:
        act()
    except OSError as error:
        return errno.errorcode[error.errno]
    return ""

server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname(), timeout=5)
server.accept()[0].sendall(b"heard")
status = dict(line.split(":\\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\\t" in line)
Path("seen.json").write_text(json.dumps({
    "own loopback": client.recv(5).decode(),
    "the judge's loopback": refused(lambda: socket.create_connection(("127.0.0.1", port), timeout=5)),
    "outside": refused(lambda: socket.create_connection(("192.0.2.1", 80), timeout=5)),
    "interfaces": [name for _, name in socket.if_nameindex()],
    "needed": (needed / "module.py").read_text(),
    "writes": [refused((folder / "mine").touch) for folder in (needed, Path("/etc"), Path("/usr"), Path.home())],
    "hidden": os.listdir(hidden) if hidden.exists() else [],
    "beside": beside.exists(),
    "scratch": refused((Path("/tmp") / "mine").touch) + refused((Path("/dev/shm") / "mine").touch),
    "shared memory": os.listdir("/dev/shm"),
    "capabilities": [int(status[one], 16) for one in ("CapEff", "CapPrm", "CapBnd")],
    "no new privileges": status["NoNewPrivs"].strip(),
    "processes": len([one for one in os.listdir("/proc") if one.isdecimal()]),
    "variables": sorted(os.environ),
}))
print("x" * 100_000)
print("bye")
sys.exit(3)
"""
LEAVES_A_CHILD = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", sys.argv[1]], start_new_session=True)
if len(sys.argv) > 2:
    time.sleep(600)
"""


def order(folder: Path, program: str, *arguments: str, hidden: tuple[str, ...] = ()) -> dict[str, object]:
    (folder / "scratch").mkdir()
    return {
        "limits": {"memory_bytes": None, "cpu_s": 60, "file_bytes": 2**20, "n_files": 64},
        "hidden": hidden,
        "fresh": ["/dev/shm"],
        "needed": [sys.prefix, sys.base_prefix, str(folder / "needed")],
        "scratch": str(folder / "scratch"),
        "scratch_variables": ["HOME", "TMPDIR"],
        "environment": {"PATH": PROGRAM_PATH},
        "command": [sys.executable, "-c", program, *arguments],
        "report": "seen.json",
        "report_bytes": 2**16,
    }


@pytest.fixture
def answer(tmp_path):
    for name in ("needed", "needed/hidden", "beside"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "module.py").write_text("kept")
    hidden = str(tmp_path / "needed/hidden")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = str(listening.getsockname()[1])
        places = (hidden, str(tmp_path / "beside"), port, str(tmp_path / "needed"))
        found = _enclosed(order(tmp_path, PROBE, *places, hidden=(hidden,)), 60)
    assert found is not None
    assert found["report"], found
    return found


def test_it_has_a_loopback_of_its_own_and_no_other_network(answer):
    seen = json.loads(answer["report"])
    assert seen["own loopback"] == "heard"
    assert seen["the judge's loopback"] == "ECONNREFUSED"
    assert seen["outside"] == "ENETUNREACH"
    assert seen["interfaces"] == ["lo"]


def test_it_sees_what_it_needs_read_only_and_nothing_of_the_judges(answer):
    seen = json.loads(answer["report"])
    assert seen["needed"] == "kept"
    assert seen["writes"] == ["EROFS", "EROFS", "EROFS", ""]
    assert (seen["hidden"], seen["beside"]) == ([], False)
    assert (seen["scratch"], seen["shared memory"]) == ("", ["mine"])
    # Process 1 and the program.
    assert seen["processes"] == 2
    assert seen["variables"] == ["HOME", "LC_CTYPE", "PATH", "TMPDIR"]


def test_it_has_no_rights_and_can_get_none(answer):
    seen = json.loads(answer["report"])
    assert seen["capabilities"] == [0, 0, 0]
    assert seen["no new privileges"] == "1"


def test_its_end_its_last_words_and_what_held_are_told(answer):
    assert answer["status"] == 3
    assert answer["said"].endswith("xxx\nbye\n")
    assert len(answer["said"]) == 16 * 1024
    assert answer["failed"] == []
    assert {"no network", "read-only files", "no capabilities"} <= set(answer["held"])


def living(mark: str) -> list[int]:
    return [one.pid for one in psutil.process_iter(["cmdline"]) if mark in (one.info["cmdline"] or ())]


def gone(mark: str) -> bool:
    until_s = time.monotonic() + 10
    while living(mark) and time.monotonic() < until_s:
        time.sleep(0.05)
    return not living(mark)


def test_at_the_deadline_everything_it_started_ends(tmp_path):
    mark = f"mark-of-{tmp_path}"
    assert _enclosed(order(tmp_path, LEAVES_A_CHILD, mark, "and waits"), 2) is None
    assert gone(mark)


def test_what_it_leaves_behind_ends_with_it(tmp_path):
    mark = f"mark-of-{tmp_path}"
    found = _enclosed(order(tmp_path, LEAVES_A_CHILD, mark), 60)
    assert found is not None
    assert (found["status"], found["report"]) == (0, "")
    assert gone(mark)


def test_a_report_that_is_no_plain_file_is_not_read(tmp_path):
    found = _enclosed(order(tmp_path, "import os; os.symlink('/etc/passwd', 'seen.json')"), 60)
    assert found is not None
    assert found["report"] == ""


def test_a_program_that_cannot_be_started_is_the_machines_fault(tmp_path):
    asked = order(tmp_path, "") | {"command": ["/no/such/tool"]}
    with pytest.raises(HarnessFailed, match="/no/such/tool"):
        _enclosed(asked, 60)


def test_without_namespaces_the_program_runs_and_what_is_missing_is_told(tmp_path):
    without = "import deep_agent.harness.sandbox.enclosure as it; it.enter_namespaces = lambda: False; raise SystemExit(it.main())"
    program = "import pathlib; pathlib.Path('seen.json').write_text(str(pathlib.Path.cwd()))"
    done = subprocess.run(
        [sys.executable, "-c", without],
        input=json.dumps(order(tmp_path, program)),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found = json.loads(done.stdout)
    assert {"no network", "read-only files", "other processes invisible"} <= set(found["failed"])
    assert (found["status"], found["report"]) == (0, str(tmp_path / "scratch"))
