"""Has Nsight Compute count one call of a solution, both of them confined. Finds the tool; starts processes.

The candidate runs in the counted process and may write what it likes where the tool writes: the counters are told to
whoever asks what to change next, and no verdict rests on them.
"""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from deep_agent.errors import HarnessFailed, MissingTool
from deep_agent.harness.baseline_arms import Workplace
from deep_agent.harness.folders import PROGRAM_PATH
from deep_agent.harness.profiling.ncu import Launch, ncu_command, parse_ncu

TIMEOUT_S: Final = 120.0
"""For loading, warming up, and every pass over every launch."""
MOST_LAUNCHES: Final = 64
"""Counted of one call; each takes a pass for every few counters."""
_REPORT: Final = "counters.csv"
_REPORT_BYTES: Final = 4 * 2**20
_SCRATCH_VARIABLES: Final = ("HOME", "TMPDIR", "TRITON_CACHE_DIR")
_ROOT: Final = str(Path(__file__).resolve().parents[3])
_NO_LEAVE: Final = "ERR_NVGPUCTRPERM"
_ERROR: Final = "==ERROR=="
_TARGET_FAILED: Final = "The application returned an error code"


@dataclass(frozen=True, slots=True)
class Counted:
    """What the tool counted of a call."""

    launches: tuple[Launch, ...]
    status: int
    """With which the counted program ended; 0 for success."""
    said: str
    """What it printed: data, never evidence."""
    unconfined: tuple[str, ...]
    """What did not confine it, in words."""


def count(ncu: str, folder: Path, workplace: Workplace) -> Counted | None:
    """Count the call that is laid out in a folder; None when it took longer than TIMEOUT_S.

    Raises:
        MissingTool: the tool may not read this device's counters.
        HarnessFailed: the tool itself failed.
    """
    left = _enclosed(_order(ncu, folder, workplace), TIMEOUT_S)
    if left is None:
        return None
    report, said = left["report"], left["said"]
    # What the tool says before it has opened its report stands among what the program printed.
    errors = [line.strip() for line in (report or said).splitlines() if line.startswith(_ERROR)]
    if any(_NO_LEAVE in line for line in errors):
        raise MissingTool(
            "Nsight Compute may not read this device's counters (ERR_NVGPUCTRPERM).",
            remedy="Put `options nvidia NVreg_RestrictProfilingToAdminUsers=0` into a file in /etc/modprobe.d and load "
            "the driver anew: the profiled program has no administrator's rights, whoever runs the judge.",
        )
    launches = parse_ncu(report)
    failed = next((line for line in errors if _TARGET_FAILED not in line), None)
    if not launches and failed is not None:
        raise HarnessFailed(f"Nsight Compute failed: {failed[:300]}", remedy="Try ncu by hand on a small program.")
    return Counted(launches, left["status"], said.strip(), tuple(left["failed"]))


def _order(ncu: str, folder: Path, workplace: Workplace) -> dict[str, object]:
    scratch = folder / "scratch"
    scratch.mkdir(mode=0o700)
    target = [sys.executable, "-m", "deep_agent.harness.sandbox.counted", str(folder)]
    n_threads = str(workplace.n_threads)
    return {
        "limits": asdict(workplace.limits),
        "hidden": workplace.zygote.hidden,
        # Where programs meet over shared memory, as a profiler and its target may.
        "fresh": ["/dev/shm"],  # noqa: S108 - fresh in the namespace
        "needed": [sys.prefix, sys.base_prefix, *filter(None, sys.path), _ROOT, str(Path(ncu).parent), str(folder)],
        "scratch": str(scratch),
        "scratch_variables": _SCRATCH_VARIABLES,
        "environment": {
            "PATH": PROGRAM_PATH,
            "LANG": "C.UTF-8",
            "PYTHONPATH": _ROOT,
            "OMP_NUM_THREADS": n_threads,
            "TORCHINDUCTOR_COMPILE_THREADS": "1",
        },
        "command": ncu_command(ncu, target, report=_REPORT, n_launches=MOST_LAUNCHES),
        "report": _REPORT,
        "report_bytes": _REPORT_BYTES,
    }


def _enclosed(order: dict[str, object], timeout_s: float) -> dict[str, Any] | None:
    """Run a program in an enclosure; None when it had to be killed. Raises HarnessFailed when there is no answer."""
    with subprocess.Popen(
        [sys.executable, "-S", "-m", "deep_agent.harness.sandbox.enclosure"],
        env={"PATH": PROGRAM_PATH, "LANG": "C.UTF-8", "PYTHONPATH": _ROOT},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            told, words = process.communicate(json.dumps(order).encode(), timeout=timeout_s)
        except subprocess.TimeoutExpired:
            _kill_group(process.pid)
            return None
    if process.returncode != 0 or not told:
        last = words.decode(errors="replace").strip().splitlines()[-1:] or ["it ended without a word"]
        raise HarnessFailed(
            f"Nsight Compute could not be run confined: {last[0][:300]}.", remedy="Run `deep-agent doctor`."
        )
    answer: dict[str, Any] = json.loads(told)
    if answer["failed"]:
        # Where there is no namespace, what the program started outlives it.
        _kill_group(process.pid)
    return answer


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
