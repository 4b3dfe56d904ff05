"""Answers what the judge is asked: characterise a problem, evaluate a solution. Loads torch; starts processes.

Builds run beside each other; whatever touches the device waits for its one lock. Benches are kept for the
next candidate of the same problem, as far as memory allows; `verify` always sets up a new one.
"""

import contextlib
import functools
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import psutil

from deep_agent.errors import HarnessFailed, InvalidInput
from deep_agent.harness.arms.arm import ArmLimits, Zygote
from deep_agent.harness.arms.places import CudaDevice, Place
from deep_agent.harness.baseline_arms import Workplace
from deep_agent.harness.bench import Bench, Progress
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
from deep_agent.problem.footprint import check_fits, workload_bytes
from deep_agent.problem.problem import Problem
from deep_agent.problem.profile import NotProfiled, Profile, ProfileRequest
from deep_agent.problem.readers import read_problem
from deep_agent.problem.solution import Solution
from deep_agent.problem.trace import EvaluationStatus

EVERY_DEFAULT: Final = BaselineChoice()
"""The baselines that verdicts compare with."""
_COPIES: Final = 6
"""Sets of buffers a workload may hold at once: input sets, the judge's copies of them, and outputs of baselines, twin, candidate, incumbent."""
_CPU_S: Final = 600
_CPU_S_PER_WORKLOAD: Final = 120
"""Processor time of an arm, and for each workload and thread on top of it: one arm answers for all of them, in some sixty calls
of each, and a compiler may run in it for every shape. What hangs is ended sooner, by the time of each request."""
_BENCH_MEMORY_SHARE: Final = 0.35
"""Share of a memory, the host's or a device's, that the benches kept in it may hold."""


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
        self._benches: OrderedDict[str, Bench] = OrderedDict()
        self._keys = threading.Lock()
        self._setting_up: dict[str, threading.Lock] = {}
        self._equipment: dict[str, tuple[Place, Timer]] = {}

    def characterize(
        self, problem_dir: str, device: str, progress: Progress, *, choice: BaselineChoice
    ) -> Characterization:
        """Time the baselines and measure what this machine calls a difference; see the `Judge` port."""
        problem = _read(problem_dir, device)
        workplace = self._workplace(problem, device)
        with self._using(lambda: self._bench(workplace, problem, device, progress, choice=choice), progress) as bench:
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
        _require_same(problem, request.solution)
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
        with (
            self._using(lambda: self._bench_for(workplace, problem, request, progress), progress) as bench,
            self._device,
        ):
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
        _require_same(problem, request.solution)
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
        with self._keys:
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

    def _bench_for(
        self, workplace: Workplace, problem: Problem, request: EvaluationRequest, progress: Progress
    ) -> Bench:
        if request.profile != "verify":
            return self._bench(workplace, problem, request.device, progress)
        # Unseen inputs, addresses and processes for every arm; nothing of the search's bench takes part.
        kept = self._benches.get(_key(problem, request.device))
        if kept is None or not kept.best:
            return Bench(workplace, problem, progress)
        names = tuple({entry.source.name for entry in kept.best.values()})
        bench = Bench(workplace, problem, progress, choice=BaselineChoice(names=names))
        lost = [f"{one.name} ({one.failure})" for one in bench.baselines() if one.failure]
        if lost:
            # What is left may be slower, and any figure over it larger than it is.
            bench.close()
            raise HarnessFailed(
                f"the verification has not all of the search's best baselines of {problem.name!r}: {', '.join(lost)}.",
                remedy="Ask again; where that does not help, the reason says what the library's own call lacks.",
            )
        return bench

    def _bench(
        self,
        workplace: Workplace,
        problem: Problem,
        device: str,
        progress: Progress,
        *,
        choice: BaselineChoice = EVERY_DEFAULT,
    ) -> Bench:
        """Give the problem's bench, setting it up if there is none; benches of different problems side by side."""
        key = _key(problem, device, choice)
        with self._keys:
            setting_up = self._setting_up.setdefault(key, threading.Lock())
        with setting_up:
            bench = self._benches.get(key)
            if bench is None:
                require_room(problem, workplace.place)
                bench = Bench(workplace, problem, progress, choice=choice)
                with self._keys:
                    self._benches[key] = bench
                self._make_room(workplace.place)
            with self._keys:
                if key in self._benches:
                    self._benches.move_to_end(key)
            return bench

    @contextlib.contextmanager
    def _using(self, find: Callable[[], Bench], progress: Progress) -> Iterator[Bench]:
        """Have a bench to oneself: inputs change with every call, and others would meet the wrong ones.

        One on which anything broke is kept no longer, since an arm of its own may be dead, and stay so. What a candidate
        does wrong is found, not raised; but one that takes all memory of a device brings this about, and a champion that
        breaks does. A bench that is not kept, as no verification's is, ends with its use.

        Args:
            find: gives one that is set up; asked again where that has ended before this use could begin.
            progress: told that this waits.
        """
        bench = find()
        progress("waiting for the device")
        bench.lock.acquire()
        while bench.is_closed:
            bench.lock.release()
            bench = find()
            bench.lock.acquire()
        try:
            yield bench
        except BaseException:
            with self._keys:
                for key in [key for key, one in self._benches.items() if one is bench]:
                    del self._benches[key]
            with self._device:
                bench.close()
            raise
        finally:
            bench.lock.release()
            self._end_unless_kept(bench)

    def _end_unless_kept(self, bench: Bench) -> None:
        """Close a bench that is not kept, unless somebody uses it, who then does so."""
        with self._keys:
            if any(one is bench for one in self._benches.values()):
                return
        if not bench.is_closed and bench.lock.acquire(blocking=False):
            try:
                # Giving memory back disturbs whoever is timed meanwhile.
                with self._device:
                    bench.close()
            finally:
                bench.lock.release()

    def _make_room(self, place: Place) -> None:
        """Keep no more benches in a memory than fit its share: the least recently used go."""
        total_bytes = place.memory_bytes or psutil.virtual_memory().total
        with self._keys:
            held = [(key, one.footprint_bytes) for key, one in self._benches.items() if one.place_index == place.index]
            gone = [self._benches.pop(key) for key in beyond(held, int(_BENCH_MEMORY_SHARE * total_bytes))]
        for bench in gone:
            self._end_unless_kept(bench)

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

    def close(self) -> None:
        """End every arm; what they shared goes with this process."""
        self._zygote.close()


def beyond(held: Sequence[tuple[str, int]], limit_bytes: int) -> tuple[str, ...]:
    """Name what has to go for the rest to fit the limit: the first ones, and never the last.

    Args:
        held: key and bytes of each, the least recently used first.
        limit_bytes: what all that stay may hold together.
    """
    left_bytes = sum(n_bytes for _, n_bytes in held)
    gone = []
    for key, n_bytes in held[:-1]:
        if left_bytes <= limit_bytes:
            break
        gone.append(key)
        left_bytes -= n_bytes
    return tuple(gone)


def require_room(problem: Problem, place: Place) -> None:
    """Refuse a problem whose workloads do not fit into the memory of a place; raises InvalidInput."""
    device_bytes = place.memory_bytes
    available_bytes = psutil.virtual_memory().available if device_bytes is None else device_bytes
    for workload in problem.workloads:
        check_fits(problem.definition, workload, available_bytes=available_bytes, copies=_COPIES)


def _key(problem: Problem, device: str, choice: BaselineChoice = EVERY_DEFAULT) -> str:
    return f"{device} {choice.model_dump_json()} {problem.model_dump_json()}"


def _read(problem_dir: str, device: str) -> Problem:
    return read_problem(Path(problem_dir), device_kind(device))


def _require_same(problem: Problem, solution: Solution) -> None:
    if solution.definition != problem.name:
        raise InvalidInput(
            f"solution {solution.name!r} is for definition {solution.definition!r}, the problem is {problem.name!r}.",
            remedy="Correct solution.definition or choose the other problem.",
        )


def _memory_for(problem: Problem) -> int:
    """Room for an honest solution: the buffers it is shown, as much again several times over, and 2 GiB."""
    largest = max(workload_bytes(problem.definition, workload) for workload in problem.workloads)
    return 2 * 2**30 + (_COPIES + 8) * largest


def _timer(arrived_s: float, deadline_s: float | None) -> Callable[[], bool]:
    return lambda: deadline_s is not None and time.perf_counter() - arrived_s > deadline_s
