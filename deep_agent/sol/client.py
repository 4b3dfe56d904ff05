"""Owns the analyst that works in a process of its own; starts and ends that process, imports no torch."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import ValidationError
from typing_extensions import override

from deep_agent.errors import HarnessFailed, InvalidInput, MissingTool
from deep_agent.ports import Analyst
from deep_agent.problem.analysis import Analysis
from deep_agent.problem.bound import SolBound
from deep_agent.problem.device import DeviceModel
from deep_agent.problem.opgraph import OpGraph
from deep_agent.problem.problem import Problem
from deep_agent.sol.wire import AnalysisRequest, Refused, Reply

_PACKAGE_ROOT = Path(__file__).resolve().parents[2]


class SubprocessAnalyst(Analyst):
    """Traces and bounds in `python -m deep_agent.sol`, one process a call; safe to call from several threads."""

    def __init__(self, *, time_limit_s: float = 120.0, memory_limit_bytes: int = 16 * 2**30) -> None:
        """Keep the limits of one call.

        Args:
            time_limit_s: wall time, importing torch included.
            memory_limit_bytes: address space of the process; torch alone maps some gigabytes.
        """
        self._time_limit_s = time_limit_s
        self._memory_limit_bytes = memory_limit_bytes
        self._state = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()

    @override
    def graph(self, problem: Problem) -> OpGraph:
        """Trace the reference at its first workload; see the port.

        Raises:
            InvalidInput: also when the reference looks at values, so that it has no graph.
        """
        analysis = self._ask(problem, device=None, want_graph=True)
        if analysis.graph is None:
            raise InvalidInput(
                f"definition {problem.name!r}: its reference has no graph: {analysis.graph_missing}.",
                remedy="Search from the reference as it stands, or rewrite it without looking at values.",
            )
        return analysis.graph

    @override
    def bounds(self, problem: Problem, device: DeviceModel) -> tuple[SolBound, ...]:
        return self._ask(problem, device=device, want_graph=False).bounds

    @override
    def analyse(self, problem: Problem, device: DeviceModel) -> Analysis:
        return self._ask(problem, device=device, want_graph=True)

    @override
    def survey(self, problem: Problem, device: DeviceModel) -> Analysis:
        return self._ask(problem, device=device, want_graph=False, keep_going=True)

    @override
    def cancel(self) -> None:
        with self._state:
            for process in self._running:
                _kill(process)

    def _ask(
        self, problem: Problem, *, device: DeviceModel | None, want_graph: bool, keep_going: bool = False
    ) -> Analysis:
        request = AnalysisRequest(
            problem=problem,
            device=device,
            want_graph=want_graph,
            keep_going=keep_going,
            memory_limit_bytes=self._memory_limit_bytes,
        )
        said = self._run(problem.name, request.model_dump_json().encode())
        if not said:
            raise InvalidInput(
                f"definition {problem.name!r}: the reference ended the process that traced it, which gave no reply.",
                remedy="A reference may not end its process.",
            )
        try:
            answer = Reply.model_validate_json(said).answer
        except ValidationError as error:
            raise HarnessFailed(f"the analyst of {problem.name!r} gave no valid reply: {error}") from error
        if isinstance(answer, Refused):
            raise InvalidInput(answer.message, remedy=answer.remedy)
        return answer.analysis

    def _run(self, name: str, request: bytes) -> bytes:
        with TemporaryDirectory(prefix="deep-agent-analyst-") as folder:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "deep_agent.sol"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=folder,
                env=_environment(folder),
                start_new_session=True,
            )
            with self._state:
                self._running.add(process)
            try:
                said, errors = process.communicate(request, timeout=self._time_limit_s)
            except subprocess.TimeoutExpired as error:
                raise InvalidInput(
                    f"definition {name!r}: tracing its reference took longer than {self._time_limit_s:g} s.",
                    remedy="Look for a loop that does not end, or make the workload smaller.",
                ) from error
            finally:
                with self._state:
                    self._running.discard(process)
                _end(process)
        if process.returncode:
            raise _failure(name, process.returncode, errors.decode(errors="replace"))
        return said


def _environment(folder: str) -> dict[str, str]:
    """Give the program what Python and torch need to start, and nothing of ours."""
    return {
        "PATH": os.defpath,
        "HOME": folder,
        "TMPDIR": folder,
        "PYTHONPATH": str(_PACKAGE_ROOT),
        "OMP_NUM_THREADS": "1",
        "LC_ALL": "C.UTF-8",
    }


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill the whole group, so that nothing the reference started stays behind."""
    _kill(process)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _kill(process: "subprocess.Popen[bytes]") -> None:
    # The group may be gone already, or on macOS hold only a zombie.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _failure(name: str, code: int, errors: str) -> HarnessFailed | MissingTool:
    last = errors.strip().rpartition("\n")[2][:300]
    if "No module named 'torch'" in errors:
        return MissingTool(
            "torch is not installed, and tracing a reference needs it.", remedy="pip install 'deep-agent[worker]'."
        )
    how = f"signal {-code}" if code < 0 else f"exit {code}"
    return HarnessFailed(f"the analyst of {name!r} ended with {how}: {last or 'it said nothing'}.")
