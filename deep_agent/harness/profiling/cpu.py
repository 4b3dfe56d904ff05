"""Profiles one solution on a CPU: compiler's reports, instructions, counters. Loads torch; starts processes.

The run has an artefact, an arm and inputs of its own, confined as any candidate's, and holds the device so that
nothing is timed meanwhile. Its times explain; none of them is a score.
"""

import contextlib
import functools
import platform
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Final, Self

from deep_agent.harness.answers.stage import Desk, Stage
from deep_agent.harness.baseline_arms import Workplace
from deep_agent.harness.builds.build import NotBuilt, compile_in
from deep_agent.harness.builds.compilers import Gxx
from deep_agent.harness.folders import PROGRAM_PATH
from deep_agent.harness.profiling.compiler_report import (
    REPORT_FILE,
    REPORT_FLAGS,
    LoopRemark,
    largest_stack_bytes,
    loop_remarks,
)
from deep_agent.harness.profiling.cpu_rules import CpuObservation, diagnose, resource_figures
from deep_agent.harness.profiling.disassembly import InstructionMix, instruction_mix
from deep_agent.harness.profiling.perf import SOFTWARE, Counts, parse_perf, perf_command
from deep_agent.harness.profiling.trial import Trial
from deep_agent.harness.timing.timers import CallTimer
from deep_agent.harness.verdict import Prepared
from deep_agent.problem.footprint import workload_bytes
from deep_agent.problem.problem import Problem
from deep_agent.problem.profile import Figure, NotProfiled, Profile, ProfileRequest
from deep_agent.problem.solution import Solution
from deep_agent.problem.trace import EvaluationStatus

RUN_S: Final = 1.5
"""Wall seconds of calls that are counted."""
N_CALLS: Final = (5, 2000)
"""Least and most calls."""
TOOL_TIMEOUT_S: Final = 20.0
MOST_OBJECT_BYTES: Final = 16 * 2**20
"""A larger object would disassemble into gigabytes of text."""
_PERF_START_S: Final = 0.3
"""What perf is given to attach before the first call."""
_MOST_LOOPS_TOLD: Final = 12
_X86: Final = frozenset({"x86_64", "AMD64"})


@dataclass(slots=True)
class _Report:
    """What can be said of a build without running it."""

    artefact: bytes | None = None
    mix: InstructionMix | None = None
    stack_bytes: int | None = None
    notes: list[str] = field(default_factory=list)


class CpuProfiling:
    """One profile: `with` sets up what needs no device, `run` does the rest."""

    def __init__(self, workplace: Workplace, problem: Problem, request: ProfileRequest, prepared: Prepared) -> None:
        """Keep what to profile; raises InvalidInput for an unknown workload."""
        self._trial = Trial(workplace, problem, prepared, request.workload)
        self._built: _Report | NotBuilt = _Report(notes=["it is not compiled ahead: only its calls are profiled."])
        self._request = request
        timer = workplace.timer
        assert isinstance(timer, CallTimer), "only a processor's judge profiles here"
        self._flush = timer.flush

    def __enter__(self) -> Self:
        """Build for the profile and make the inputs; raises InvalidInput when they do not fit or are refused."""
        solution = self._trial.prepared.solution
        if not solution.spec.is_python:
            self._built = _report(solution)
        self._trial.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the inputs back."""
        self._trial.__exit__(kind, error, trace)

    def run(self) -> Profile | NotProfiled:
        """Call, count and conclude; needs the device."""
        report = self._built
        if isinstance(report, NotBuilt):
            return NotProfiled(status=EvaluationStatus.COMPILE_ERROR, reason=report.diagnostics)
        ran = self._trial.run(report.artefact, functools.partial(self._count, report.notes))
        return ran if isinstance(ran, NotProfiled) else self._conclude(report, *ran)

    def _conclude(self, report: _Report, times_us: list[float], counts: Counts | None) -> Profile:
        request = self._request
        bound = request.bound
        moved_bytes = workload_bytes(self._trial.problem.definition, self._trial.workload) if bound is None else 0.0
        seen = CpuObservation(
            time_us=median(times_us),
            moved_bytes=moved_bytes if bound is None else bound.work.moved_bytes,
            mix=report.mix,
            counts=counts,
        )
        bottleneck, evidence = diagnose(seen, request.device, bound)
        return Profile(
            workload=self._trial.workload.uuid,
            bottleneck=bottleneck,
            evidence=evidence,
            resources=resource_figures(seen, report.stack_bytes),
            counters=_counter_figures(counts, len(times_us)),
            notes=tuple(report.notes),
        )

    def _count(self, notes: list[str], stage: Stage, desk: Desk) -> tuple[list[float], Counts | None]:
        for _ in range(desk.n_warm_calls):
            stage.call(desk, self._flush)
        with _counting(desk.arm.pid, notes) as counted:
            times_us = self._calls(stage, desk)
        return times_us, counted()

    def _calls(self, stage: Stage, desk: Desk) -> list[float]:
        least, most = N_CALLS
        times_us: list[float] = []
        until_s = time.perf_counter() + RUN_S
        while len(times_us) < least or (len(times_us) < most and time.perf_counter() < until_s):
            timing, _ = stage.call(desk, self._flush)
            times_us.append(timing.wall_us)
        return times_us


def _report(solution: Solution) -> _Report | NotBuilt:
    """Build with the compiler's reports on, and read them and the object."""
    with tempfile.TemporaryDirectory(prefix="deep-agent-profile-") as folder:
        staging = Path(folder)
        made = compile_in(solution, Gxx(), staging, REPORT_FLAGS)
        if isinstance(made, NotBuilt):
            return made
        report = _Report(artefact=made)
        told = staging / "src" / REPORT_FILE
        remarks = loop_remarks(
            told.read_text(errors="replace") if told.is_file() else "", [source.path for source in solution.sources]
        )
        report.notes += _loop_notes(remarks)
        if solution.spec.binding == "torch":
            # Thousands of instructions of pybind11 would drown the kernel's, and speak of spills that cost nothing.
            report.notes.append("instructions and stack of a torch extension are mostly its binding's: not read.")
            return report
        report.stack_bytes = largest_stack_bytes([file.read_text(errors="replace") for file in staging.rglob("*.su")])
        report.mix = _mix(staging / "solution.so", report.notes)
        return report


def _loop_notes(remarks: tuple[LoopRemark, ...]) -> list[str]:
    missed = [one for one in remarks if not one.vector_bytes]
    told = [f"{one.place}: vectorised with {8 * one.vector_bytes} bits" for one in remarks if one.vector_bytes]
    told += [f"{one.place}: not vectorised{f': {one.reason}' if one.reason else ''}" for one in missed]
    left = len(told) - _MOST_LOOPS_TOLD
    return [*told[:_MOST_LOOPS_TOLD], *([f"{left} more loops are not listed."] if left > 0 else [])]


def _mix(path: Path, notes: list[str]) -> InstructionMix | None:
    objdump = shutil.which("objdump", path=PROGRAM_PATH)
    if objdump is None or platform.machine() not in _X86:
        notes.append("the instruction mix needs objdump (`apt-get install binutils`) and an x86-64 processor.")
        return None
    if path.stat().st_size > MOST_OBJECT_BYTES:
        notes.append(f"the object is larger than {MOST_OBJECT_BYTES >> 20} MiB: its instructions were not read.")
        return None
    command = [objdump, "-d", "--no-show-raw-insn", "-M", "intel", str(path)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TOOL_TIMEOUT_S, check=True, env={"LANG": "C"}
        )
    except (OSError, subprocess.SubprocessError) as error:
        notes.append(f"objdump could not read the object: {error}.")
        return None
    return instruction_mix(done.stdout)


class _Counted:
    """What perf counted, once it has ended."""

    def __init__(self) -> None:
        self.counts: Counts | None = None

    def __call__(self) -> Counts | None:
        return self.counts


@contextlib.contextmanager
def _counting(pid: int, notes: list[str]) -> Iterator[_Counted]:
    """Count a process while the block runs; what is not counted is said in the notes."""
    counted = _Counted()
    perf = shutil.which("perf", path=PROGRAM_PATH)
    if perf is None:
        notes.append("nothing was counted: there is no perf. Install it: `apt-get install linux-perf`.")
        yield counted
        return
    with tempfile.NamedTemporaryFile(prefix="deep-agent-perf-", suffix=".csv") as report:
        process = subprocess.Popen(
            perf_command(perf, pid, report.name),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"LANG": "C"},
            text=True,
        )
        try:
            time.sleep(_PERF_START_S)
            yield counted
        finally:
            said = _ended(process)
        counted.counts = parse_perf(Path(report.name).read_text(errors="replace"))
    if not counted.counts.values:
        first = next(iter(said.strip().splitlines()), "it said nothing")
        notes.append(f"nothing was counted: perf may not look at the process ({first[:200]}).")
        counted.counts = None
    elif counted.counts.missing:
        lacking = ", ".join(counted.counts.missing)
        why = "" if set(counted.counts.missing) & SOFTWARE else "; virtual machines often hide hardware counters"
        notes.append(f"this machine does not count {lacking}{why}.")


def _ended(process: "subprocess.Popen[str]") -> str:
    process.send_signal(signal.SIGINT)
    try:
        _, said = process.communicate(timeout=TOOL_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        _, said = process.communicate()
    return said or ""


def _counter_figures(counts: Counts | None, n_calls: int) -> tuple[Figure, ...]:
    if counts is None:
        return ()
    units = {"task-clock": "ms"}
    return tuple(
        Figure(name=f"{event} a call", value=value / n_calls, unit=units.get(event, ""))
        for event, value in counts.values.items()
    )
