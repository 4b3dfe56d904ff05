"""Answers what the judge is asked: characterise a problem, evaluate a solution. Loads torch; starts processes.

Builds run beside each other; whatever touches the device waits for its one lock. `benches.py`
says which candidates meet on the same bench.
"""

import functools
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from deep_agent.errors import InvalidInput
from deep_agent.harness.arms.arm import ArmLimits, Zygote
from deep_agent.harness.arms.places import CudaDevice, Place
from deep_agent.harness.baseline_arms import Workplace
from deep_agent.harness.bench import Progress
from deep_agent.harness.benches import Benches
from deep_agent.harness.builds.build import Builder, NotBuilt
from deep_agent.harness.builds.toolchains import obstacle
from deep_agent.harness.characterization import characterized
from deep_agent.harness.equipment import cuda_index, device_kind, equipment, thread_count
from deep_agent.harness.findings import first_failure, not_run
from deep_agent.harness.folders import Folders, find_ncu
from deep_agent.harness.profiling.cpu import CpuProfiling
from deep_agent.harness.profiling.cuda import CudaProfiling
from deep_agent.harness.timing.rounds import protocol_of
from deep_agent.harness.timing.timers import Timer
from deep_agent.harness.verdict import Findings, Prepared, Verdict
from deep_agent.problem.evaluation import BaselineChoice, Build, Characterization, Evaluation, EvaluationRequest
from deep_agent.problem.footprint import workload_bytes
from deep_agent.problem.problem import Problem
from deep_agent.problem.profile import NotProfiled, Profile, ProfileRequest
from deep_agent.problem.readers import read_problem
from deep_agent.problem.solution import Solution
from deep_agent.problem.trace import EvaluationStatus

_HONEST_COPIES: Final = 14
"""Of the buffers of its largest workload, that an arm has room for."""
_CPU_S: Final = 600
_CPU_S_PER_WORKLOAD: Final = 120
"""Processor time of an arm, and for each workload and thread on top of it: one arm answers for all of them, in some sixty calls
of each, and a compiler may run in it for every shape. What hangs is ended sooner, by the time of each request."""


class DeviceJudge:
    """The judge of one machine: of its processor and of its CUDA devices."""

    def __init__(self, zygote: Zygote, folders: Folders, fingerprint: str, *, memory_bytes: int | None) -> None:
        """Take over the zygote.

        Args:
            zygote: forks the arms; may still be loading.
            folders: where things are kept.
            fingerprint: of the processor; goes into every evaluation on it.
            memory_bytes: what an arm may map; None chooses by workload.
        """
        self._builder = Builder(folders.builds)
        self._fingerprint = fingerprint
        self._memory_bytes = memory_bytes
        self._zygote = zygote
        self._device = threading.Lock()
        self._benches = Benches(self._device)
        self._opening = threading.Lock()
        self._equipment: dict[str, tuple[Place, Timer]] = {}

    def characterize(
        self, problem_dir: str, device: str, progress: Progress, *, choice: BaselineChoice
    ) -> Characterization:
        """Time the baselines and measure what this machine calls a difference; see the `Judge` port."""
        problem = _read(problem_dir, device)
        workplace = self._workplace(problem, device)
        with self._benches.lend(workplace, problem, device, progress, choice=choice) as bench:
            return characterized(workplace, bench, device, self._device, progress)

    def build(self, solution: Solution, device: str) -> Build:
        """Build a solution; see the `Judge` port."""
        started_s = time.perf_counter()
        made = self._prepare(solution, device)
        build_s = time.perf_counter() - started_s
        if isinstance(made, NotBuilt):
            return Build(is_built=False, diagnostics=made.diagnostics, build_s=build_s)
        return Build(
            is_built=True,
            machine_code_hash=made.machine_code_hash,
            build_s=build_s,
            from_cache=made.from_cache,
        )

    def evaluate(self, request: EvaluationRequest, progress: Progress) -> Evaluation:
        """Build, examine and time a solution; see the `Judge` port."""
        problem = _read(request.problem_dir, request.device)
        _require_fitting(problem, request.solution)
        arrived_s = time.perf_counter()
        progress("building")
        candidate = self._prepare(request.solution, request.device)
        incumbent = None if request.incumbent is None else self._prepare(request.incumbent, request.device)
        build_s = time.perf_counter() - arrived_s
        if isinstance(candidate, NotBuilt):
            return self._unbuilt(request, problem, candidate, build_s)
        if isinstance(incumbent, NotBuilt):
            raise InvalidInput(f"the incumbent does not build: {incumbent.diagnostics[:500]}")
        workplace = self._workplace(problem, request.device)
        lend = self._benches.lend_new if request.profile == "verify" else self._benches.lend
        with lend(workplace, problem, request.device, progress) as bench, self._device:
            started_s = time.perf_counter()
            progress("judging")
            bench.time_baselines()
            if (
                protocol_of(request.profile, on_device=workplace.place.index is not None).with_twin
                and incumbent is None
            ):
                bench.start_twins()
            verdict = Verdict(workplace, bench, request.profile, _timer(arrived_s, request.deadline_s))
            findings = verdict.reach(candidate, incumbent)
            device_s = time.perf_counter() - started_s
        return self._evaluation(request, problem, findings, seed=bench.seed, device_s=device_s, build_s=build_s)

    def profile(self, request: ProfileRequest, progress: Progress) -> Profile | NotProfiled:
        """Explain what holds a solution back; see the `Profiler` port."""
        device = request.device.name
        # Who lacks the tool hears of it before anything is built.
        is_cpu = device_kind(device) == "cpu"
        profiling_of = CpuProfiling if is_cpu else functools.partial(CudaProfiling, find_ncu())
        problem = _read(request.problem_dir, device)
        _require_fitting(problem, request.solution)
        progress("building")
        prepared = self._prepare(request.solution, device)
        if isinstance(prepared, NotBuilt):
            return NotProfiled(status=EvaluationStatus.COMPILE_ERROR, reason=prepared.diagnostics)
        with profiling_of(self._workplace(problem, device), problem, request, prepared) as profiling:
            progress("waiting for the device")
            with self._device:
                progress("profiling")
                return profiling.run()

    def _prepare(self, solution: Solution, device: str) -> Prepared | NotBuilt:
        solution = solution.with_binding()
        spec = solution.spec
        hindered = obstacle(spec.languages, device_kind(device), binding=spec.binding)
        if hindered is not None:
            return NotBuilt(hindered.words, is_final=False)
        if spec.is_python:
            return Prepared(solution, None)
        built = self._builder.build(solution, self._target(device))
        if isinstance(built, NotBuilt):
            return built
        return Prepared(solution, built.artefact, built.machine_code_hash, built.from_cache)

    def _workplace(self, problem: Problem, device: str) -> Workplace:
        place, timer = self._placed(device)
        place.attend()
        n_threads = 1 if place.index is not None else thread_count(device)
        cpu_s = _CPU_S + _CPU_S_PER_WORKLOAD * n_threads * len(problem.workloads)
        if place.index is not None:
            limits = ArmLimits(memory_bytes=None, cpu_s=cpu_s, n_files=1024)
        else:
            limits = ArmLimits(memory_bytes=self._memory_bytes or _memory_for(problem), cpu_s=cpu_s)
        return Workplace(self._zygote, place, timer, n_threads, limits)

    def _placed(self, device: str) -> tuple[Place, Timer]:
        with self._opening:
            if device not in self._equipment:
                self._equipment[device] = equipment(device)
            return self._equipment[device]

    def _target(self, device: str) -> str | None:
        """Give the architecture to compile for, or None for this processor."""
        if cuda_index(device) is None:
            return None
        place = self._placed(device)[0]
        assert isinstance(place, CudaDevice)
        return place.architecture

    def _unbuilt(self, request: EvaluationRequest, problem: Problem, why: NotBuilt, build_s: float) -> Evaluation:
        first_line = next((line for line in why.diagnostics.splitlines() if "error" in line), why.diagnostics[:300])
        findings = Findings(log=why.diagnostics)
        findings.workloads = [not_run(one, EvaluationStatus.COMPILE_ERROR, first_line) for one in problem.workloads]
        return self._evaluation(request, problem, findings, seed="", device_s=0.0, build_s=build_s)

    def _evaluation(
        self,
        request: EvaluationRequest,
        problem: Problem,
        findings: Findings,
        *,
        seed: str,
        device_s: float,
        build_s: float,
    ) -> Evaluation:
        status, message = first_failure(findings.workloads)
        # A solution whose toolchain is missing never met the device.
        place = self._equipment[request.device][0] if request.device in self._equipment else None
        passed = status is EvaluationStatus.PASSED
        speedup, gain, noise = findings.overall() if passed else (None, None, None)
        return Evaluation(
            problem=problem.name,
            solution_hash=request.solution.content_hash,
            status=status,
            message=message,
            profile=request.profile,
            workloads=tuple(findings.workloads),
            speedup=speedup,
            gain=gain,
            noise=noise,
            device=request.device,
            hardware="" if place is None else place.name,
            device_fingerprint=(place and place.fingerprint) or self._fingerprint,
            device_s=device_s,
            timed_s=findings.timed_s,
            build_s=build_s,
            confinement=findings.confinement,
            seed=seed,
            load_average=os.getloadavg()[0],
            log=findings.log,
        )

    @property
    def is_broken(self) -> bool:
        """Whether no arm can start any more."""
        return self._zygote.is_broken

    def close(self) -> None:
        """End every arm; what they shared goes with this process."""
        self._zygote.close()


def _read(problem_dir: str, device: str) -> Problem:
    return read_problem(Path(problem_dir), device_kind(device))


def _require_fitting(problem: Problem, solution: Solution) -> None:
    if solution.definition != problem.name:
        raise InvalidInput(
            f"solution {solution.name!r} is for definition {solution.definition!r}, the problem is {problem.name!r}.",
            remedy="Correct solution.definition or choose the other problem.",
        )
    solution.require_local()


def _memory_for(problem: Problem) -> int:
    """Room for an honest solution: the buffers it is shown, as much again several times over, and 2 GiB."""
    largest = max(workload_bytes(problem.definition, workload) for workload in problem.workloads)
    return 2 * 2**30 + _HONEST_COPIES * largest


def _timer(arrived_s: float, deadline_s: float | None) -> Callable[[], bool]:
    return lambda: deadline_s is not None and time.perf_counter() - arrived_s > deadline_s
