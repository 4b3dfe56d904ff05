"""Owns the use cases, over ports: what a door may ask of Deep Agent. Reads problem folders; starts the engine.

Doors turn a request into one call of this; it decides nothing that the rooms below decide.
"""

import importlib.util
import shutil
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

from deep_agent.errors import InvalidInput, MissingTool, NotFound
from deep_agent.executor import control, submit
from deep_agent.executor.bound_set import BoundSet, MemberRows, RowKey
from deep_agent.executor.engine import Engine
from deep_agent.executor.folder import JobFolder
from deep_agent.executor.physics import judged_with_doubt
from deep_agent.executor.scoring import scored
from deep_agent.executor.sets.judging import judge_set
from deep_agent.executor.sets.values import SetReport, SetRequest
from deep_agent.htdag.goal import Goal
from deep_agent.htdag.hop import Accepted, IdempotencyKey
from deep_agent.htdag.job import Job
from deep_agent.ports import (
    Analyst,
    Blobs,
    Clock,
    Deliveries,
    DeviceCatalog,
    HomeLock,
    JobReads,
    Judge,
    Profiler,
    Store,
    ignore_progress,
)
from deep_agent.problem.bound import SolBound
from deep_agent.problem.breakdown import Breakdown
from deep_agent.problem.device import DeviceModel
from deep_agent.problem.evaluation import Evaluation, EvaluationRequest
from deep_agent.problem.footprint import check_sizes
from deep_agent.problem.problem import Problem
from deep_agent.problem.profile import NotProfiled, Profile, ProfileRequest
from deep_agent.problem.readers import problem_directories, read_problem
from deep_agent.problem.solution import Solution
from deep_agent.problem.value import FrozenValue


class BoundReport(FrozenValue):
    """How fast a problem could be on a device."""

    problem: Problem
    device: DeviceModel
    bounds: tuple[SolBound, ...]
    """In the order of the problem's workloads."""
    breakdowns: tuple[Breakdown, ...] = ()
    """What each bound is made of."""


@dataclass(frozen=True, kw_only=True)
class ApplicationParts:
    """What the use cases stand on."""

    store: Store
    reads: JobReads
    deliveries: Deliveries
    clock: Clock
    engine: Engine
    judge: Judge
    profiler: Profiler
    """The judge's program too; `judge` is the one that is closed."""
    analyst: Analyst
    devices: DeviceCatalog
    blobs: Blobs
    home: Path
    problems: Path
    """Folder of the problems known by name; need not exist."""
    lock: HomeLock
    """The engine's own."""
    check_webhook: Callable[[str], None]
    """Raises InvalidInput for an address that webhooks may not reach."""
    webhook_secret: Callable[[], str]
    """Gives the secret webhooks are signed with, making it on first use."""


class DeepAgent:
    """The use cases; every method may be called from several threads."""

    def __init__(self, parts: ApplicationParts) -> None:
        """Keep the parts; nothing starts."""
        self._parts = parts
        self._started = False
        self._stopped = False

    @property
    def reads(self) -> JobReads:
        """Jobs, graphs, events and versions."""
        return self._parts.reads

    @property
    def deliveries(self) -> Deliveries:
        """Webhooks and their attempts."""
        return self._parts.deliveries

    @property
    def clock(self) -> Clock:
        """Wall time."""
        return self._parts.clock

    @property
    def leads(self) -> bool:
        """Whether this process runs jobs: it was started and holds the home folder's lock."""
        return self._parts.engine.leads

    def start(self) -> None:
        """Start the lanes; they work as soon as the home folder's lock is free. Returns at once."""
        self._started = True
        self._parts.engine.start()

    def stop(self, *, timeout_s: float) -> None:
        """Stop the lanes, end the judge's processes, give leases back, close the database; idempotent."""
        if self._stopped:
            return
        self._stopped = True
        if self._started:
            self._parts.engine.stop(timeout_s=timeout_s)
        self._parts.judge.close()
        self._parts.store.close()

    def submit(self, goal: Goal, *, idempotency: IdempotencyKey | None = None) -> Accepted:
        """Check a goal and accept it; nothing is stored when it is refused.

        Raises:
            InvalidInput: a problem that does not parse, an unknown device, a webhook address users may not
                name, or a key that is known with another request.
            MissingTool: no compiler, or no torch.
        """
        self._parts.devices.check(goal.device)
        if goal.device.lower().startswith("cuda"):
            raise InvalidInput(
                f"device {goal.device!r}: a search runs on the processor only, so far.",
                remedy="Search on cpu or cpu:N; `deep-agent evaluate --device cuda` judges solutions on the card.",
            )
        if goal.webhook is not None:
            self._parts.check_webhook(goal.webhook)
        require_tools()
        found = tuple(str(self._find(name)) for name in goal.problems)
        for folder in found:
            _checked_problem(Path(folder))
        resolved = goal.model_copy(update={"problems": found})
        accepted = submit.accept(self._parts.store, self._parts.clock, resolved, idempotency=idempotency)
        self._parts.engine.wake()
        return accepted

    def cancel(self, job_id: str, *, reason: str = "") -> Job:
        """End a job early; idempotent. Raises NotFound, Conflict."""
        parts = self._parts
        job = control.cancel(parts.store, parts.reads, parts.clock, job_id, reason=reason or "asked by the user")
        parts.engine.wake()
        return job

    def pause(self, job_id: str) -> Job:
        """Let nothing new start; idempotent. Raises NotFound, Conflict."""
        return control.pause(self._parts.store, self._parts.reads, self._parts.clock, job_id)

    def resume(self, job_id: str) -> Job:
        """Go on with a paused job; idempotent. Raises NotFound, Conflict."""
        job = control.resume(self._parts.store, self._parts.reads, self._parts.clock, job_id)
        self._parts.engine.wake()
        return job

    def report(self, job_id: str) -> str:
        """Give the report's HTML. Raises NotFound while there is none."""
        self._parts.reads.job(job_id)
        path = JobFolder(self._parts.home, job_id).report
        if not path.is_file():
            raise NotFound(f"job {job_id!r} has no report yet.", remedy="It is written when the job ends.")
        return path.read_text()

    def candidate(self, solution_hash: str) -> Solution:
        """Give a candidate's source. Raises NotFound."""
        left = self._parts.reads.outputs_about(solution_hash)
        if left is not None and isinstance(left.get("solution"), dict):
            return Solution.model_validate(left["solution"])
        step = None if left is None else left.get("step")
        blob = step.get("solution_blob") if isinstance(step, dict) else None
        if not isinstance(blob, str) or not blob:
            raise NotFound(f"there is no candidate {solution_hash!r}.", remedy="Give the content hash a version names.")
        return Solution.model_validate_json(self._parts.blobs.get(blob))

    def problems(self) -> tuple[Problem, ...]:
        """Give the problems this installation knows by name."""
        folder = self._parts.problems
        return tuple(read_problem(one, "cpu") for one in problem_directories(folder)) if folder.is_dir() else ()

    def devices(self) -> tuple[DeviceModel, ...]:
        """Give the devices that were probed; never probes."""
        return self._parts.devices.known()

    def webhook_secret(self) -> str:
        """Give the secret webhooks are signed with, making it on first use."""
        return self._parts.webhook_secret()

    def is_led_elsewhere(self) -> bool:
        """Whether another process runs this home folder's jobs; asked before `start`."""
        if not self._parts.lock.acquire():
            return True
        self._parts.lock.release()
        return False

    def evaluate(self, problem: str, solution: Solution, *, device: str) -> Evaluation:
        """Judge one solution by the gate's protocol, hold its times against the bounds, and score it.

        Raises:
            HarnessFailed, InvalidInput: as `Judge.evaluate`.
        """
        self._parts.devices.check(device)
        folder = self._find(problem)
        model = self._parts.devices.resolve(device)
        request = EvaluationRequest(problem_dir=str(folder), solution=solution, device=model.name, profile="gate")
        bounds = self._bounds(read_problem(folder, model.kind), model)
        return scored(judged_with_doubt(self._parts.judge, request, bounds), bounds)

    def evaluate_set(self, request: SetRequest, progress: Callable[[str], None] = ignore_progress) -> SetReport:
        """Judge every solution of a folder on its problem and append traces; raises as `judge_set`."""
        self._parts.devices.check(request.device)
        device = self._parts.devices.resolve(request.device)

        def bounds_of(problem: Problem) -> tuple[SolBound, ...]:
            # Rates that were measured here prove no time impossible, and tracing a whole set takes long.
            return self._bounds(problem, device) if device.bound_kind == "sheet" else ()

        return judge_set(request, device, self._parts.judge, self._parts.clock, bounds_of, progress)

    def profile(
        self, problem: str, solution: Solution, *, device: str, workload: str | None = None
    ) -> Profile | NotProfiled:
        """Explain what holds a solution back on one workload; raises as `Profiler.profile`."""
        self._parts.devices.check(device)
        folder = self._find(problem)
        model = self._parts.devices.resolve(device)
        known = read_problem(folder, model.kind)
        request = ProfileRequest(
            problem_dir=str(folder),
            solution=solution,
            device=model,
            workload=workload or known.workloads[0].uuid,
        )
        # Without a bound the least traffic is that of inputs and outputs.
        bounds = self._bounds(known, model)
        bound = next((one for one in bounds if one.workload == request.workload), None)
        return self._parts.profiler.profile(request.model_copy(update={"bound": bound}))

    def _bounds(self, problem: Problem, model: DeviceModel) -> tuple[SolBound, ...]:
        """Bound every workload; nothing where a reference cannot be traced, which the judge may still run."""
        try:
            return self._parts.analyst.bounds(problem, model)
        except InvalidInput:
            return ()

    def bound(self, problem: str, *, device: str) -> BoundReport:
        """Compute the bound of every workload; raises as `Analyst.analyse` and `DeviceCatalog.resolve`."""
        model = self._parts.devices.resolve(device)
        known = read_problem(self._find(problem), model.kind)
        found = self._parts.analyst.analyse(known, model)
        return BoundReport(problem=known, device=model, bounds=found.bounds, breakdowns=found.breakdowns)

    def bound_set(
        self, directory: str, *, device: str, done: frozenset[RowKey] = frozenset()
    ) -> Generator[MemberRows, None, None]:
        """Compute the bounds of a whole directory of problems, save the rows in `done`; see `BoundSet.rows`."""
        model = self._parts.devices.resolve(device)
        return BoundSet(self._parts.analyst, model, done=done).rows(Path(directory))

    def device_name(self, device: str) -> str:
        """Give the one name of a device that may be spelt in several ways; raises as `DeviceCatalog.resolve`."""
        return self._parts.devices.resolve(device).name

    def _find(self, problem: str) -> Path:
        """Give the folder of a problem that is named by path or, where there is none, by name."""
        folder = Path(problem).expanduser()
        stored = self._parts.problems / problem
        chosen = stored if not folder.exists() and len(folder.parts) == 1 and stored.is_dir() else folder
        return chosen.absolute()


def require_tools() -> None:
    """Raise MissingTool for what every job needs and this machine lacks."""
    if shutil.which("g++") is None:
        raise MissingTool(
            "no g++ on this machine.",
            remedy="Install it: `apt-get install g++`, `dnf install gcc-c++` or your system's equivalent.",
        )
    if importlib.util.find_spec("torch") is None:
        raise MissingTool("no torch in this environment.", remedy="Install it: `pip install 'deep-agent[worker]'`.")


def _checked_problem(folder: Path) -> None:
    problem = read_problem(folder, "cpu")
    for workload in problem.workloads:
        check_sizes(problem.definition, workload)
