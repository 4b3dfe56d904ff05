"""A search on paper: a judge that knows true speeds, blobs in memory, and the context of one `vary`."""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from math import log
from pathlib import Path
from random import Random

from builders import (
    make_bound,
    make_characterization,
    make_device,
    make_evaluation,
    make_goal,
    make_problem,
    make_solution,
    make_workload_evaluation,
)
from evolution_builders import Axis, measured_ratio

from deep_agent.errors import InvalidInput, NotFound
from deep_agent.evolution.candidates import CandidateSpace
from deep_agent.evolution.operators.random import RandomOperator
from deep_agent.evolution.operators.schedule import ScheduleOperator
from deep_agent.evolution.space import Point, point_at, point_fingerprint
from deep_agent.executor.action import ActionContext
from deep_agent.executor.actions.vary import Vary
from deep_agent.executor.findings import CharacterizeFinding, VaryFinding
from deep_agent.htdag.goal import Spend
from deep_agent.htdag.node import JobId, Node, NodeId, NodeKind, NodeSpec, NodeState
from deep_agent.htdag.outcome import Outcome
from deep_agent.ports import ignore_progress
from deep_agent.problem.evaluation import Build, Characterization, Evaluation, EvaluationRequest
from deep_agent.problem.solution import Solution
from deep_agent.problem.trace import EvaluationStatus

SPACE = (Axis("vector", (1, 4, 8, 16)), Axis("unroll", (1, 2, 4)), Axis("streaming", (False, True)))
SEEDS = (point_at(SPACE, (0, 0, 0)), point_at(SPACE, (2, 1, 1)))


def build(point: Point) -> Solution:
    """Lower a point: the sources say the point and nothing else, except that vector 16 ignores streaming."""
    shown = {name: setting for name, setting in point.items() if name != "streaming" or point["vector"] != 16}
    return make_solution(f"// {sorted(shown.items())}\n", name=f"double-{point_fingerprint(point)[:8]}")


def default_speed(solution: Solution) -> float | None:
    """Twice as fast with wider vectors; incorrect when unrolled by 4."""
    text = solution.sources[0].content
    if "('unroll', 4)" in text:
        return None
    width = next(width for width in (16, 8, 4, 1) if f"('vector', {width})" in text)
    return {1: 0.8, 4: 1.3, 8: 1.6, 16: 1.5}[width] * (1.1 if "('streaming', True)" in text else 1.0)


@dataclass
class PaperJudge:
    """A `Judge` that draws measurements around true speeds."""

    speed: Callable[[Solution], float | None] = default_speed
    """Times as fast as the library; None is incorrect."""
    error_log: float = 0.002
    requests: list[EvaluationRequest] = field(default_factory=list)
    trouble: list[Exception | EvaluationStatus | threading.Event] = field(default_factory=list)
    """Taken one a request: raised, answered as a status, or waited for."""
    rng: Random = field(default_factory=lambda: Random(5))
    code_of: Callable[[Solution], str] = lambda solution: solution.content_hash
    """Solutions with the same answer compile to the same machine code; empty does not compile."""

    def build(self, solution: Solution, device: str) -> Build:
        code = self.code_of(solution)
        return Build(is_built=bool(code), machine_code_hash=code)

    def prepare(self) -> None:
        pass

    def characterize(
        self, problem_dir: str, device: str, progress: Callable[[str], None] = ignore_progress
    ) -> Characterization:
        return make_characterization()

    def evaluate(self, request: EvaluationRequest, progress: Callable[[str], None] = ignore_progress) -> Evaluation:
        self.requests.append(request)
        trouble = self.trouble.pop(0) if self.trouble else None
        if isinstance(trouble, Exception):
            raise trouble
        if isinstance(trouble, threading.Event):
            trouble.wait(10)
        status = trouble if isinstance(trouble, EvaluationStatus) else None
        return self._found(request, status)

    def _found(self, request: EvaluationRequest, status: EvaluationStatus | None) -> Evaluation:
        speed = self.speed(request.solution)
        fields = {"profile": request.profile, "solution_hash": request.solution.content_hash, "device_s": 0.5}
        if speed is None or status is not None:
            status = status or EvaluationStatus.INCORRECT_NUMERICAL
            workload = make_workload_evaluation(
                status=status, candidate=None, baseline=None, speedup=None, noise=None, score=None
            )
            return make_evaluation(
                workload, status=status, message="row 7 differs", speedup=None, noise=None, log="ptr 0x7f", **fields
            )
        speedup = measured_ratio(log(speed), self.error_log, self.rng)
        gain = None
        if request.incumbent is not None:
            gain = measured_ratio(log(speed / (self.speed(request.incumbent) or 1.0)), self.error_log, self.rng)
        noise = measured_ratio(0.0, self.error_log, self.rng)
        workload = make_workload_evaluation(speedup=speedup, gain=gain, noise=noise, score=None)
        return make_evaluation(workload, speedup=speedup, gain=gain, noise=noise, **fields)

    def close(self) -> None:
        pass


@dataclass
class MemoryBlobs:
    """Blobs in a dictionary."""

    stored: dict[str, bytes] = field(default_factory=dict)

    def put(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        self.stored[digest] = content
        return digest

    def get(self, digest: str) -> bytes:
        if digest not in self.stored:
            raise NotFound(f"no blob {digest}.")
        return self.stored[digest]


@dataclass
class PaperSearch:
    """One search: its ended nodes, and the action that adds to them."""

    lineages: Path
    judge: PaperJudge = field(default_factory=PaperJudge)
    blobs: MemoryBlobs = field(default_factory=MemoryBlobs)
    nodes: list[Node] = field(default_factory=list)
    rows: dict[int, str] = field(default_factory=dict)
    """The table of versions: seq -> sha."""
    stop: threading.Event = field(default_factory=threading.Event)
    progress: list[str] = field(default_factory=list)
    space: object = CandidateSpace(SPACE, SEEDS, build)

    def action(self) -> Vary:
        return Vary(
            judge=self.judge,
            blobs=self.blobs,
            space_of=lambda problem, device: self.space,
            operators={"auto": ScheduleOperator(), "schedule": ScheduleOperator(), "random": RandomOperator()},
            lineages=self.lineages,
        )

    def context(self, **changes) -> ActionContext:
        index = len(self.nodes)
        known = CharacterizeFinding(
            problem=make_problem(),
            characterization=make_characterization(),
            bounds=(make_bound(),),
            device=make_device(),
        )
        fields = {
            "job_id": JobId("job"),
            "node_id": NodeId(f"job.goal.optimize-1.evolve.vary-{index + 1:04d}"),
            "attempt": 1,
            "goal": make_goal(),
            "params": {"problem": "problems/double", "index": index, "seed": 0, "search": "job.goal.optimize-1.evolve"},
            "deadline_s": 1_800_000_060.0,
            "job_deadline_s": 1_800_000_090.0,
            "job_spend": Spend(),
            "now_s": lambda: 1_800_000_000.0 + index,
            "cancelled": self.stop.is_set,
            "progress": lambda kind, payload: self.progress.append(kind),
            "siblings": lambda: tuple(self.nodes),
            "owner_inputs": lambda: {"characterize": known.as_outputs()},
        }
        return ActionContext(**(fields | changes))

    def run(self, **changes) -> Outcome:
        """Run one `vary` without committing it, as an attempt that is lost right after."""
        return self.action().run({}, self.context(**changes))

    def commit(self, outcome: Outcome) -> VaryFinding:
        """Store the end of a node, as the engine does in one transaction."""
        for entry in outcome.versions:
            if entry.seq in self.rows:
                raise InvalidInput(f"version {entry.seq} exists already.")
            self.rows[entry.seq] = entry.commit_sha
        index = len(self.nodes)
        spec = NodeSpec(name=f"vary-{index + 1:04d}", kind=NodeKind.ATOMIC, handler="vary")
        node = Node(
            id=NodeId(f"job.goal.optimize-1.evolve.vary-{index + 1:04d}"),
            spec=spec,
            state=NodeState.DONE,
            outputs=outcome.outputs,
            spend=outcome.spend,
        )
        self.nodes.append(node)
        return VaryFinding.model_validate(outcome.outputs)

    def step(self, **changes) -> VaryFinding:
        return self.commit(self.run(**changes))

    def fail(self) -> None:
        """End a node as the engine does when its attempts were lost to infrastructure."""
        spec = NodeSpec(name=f"vary-{len(self.nodes) + 1:04d}", kind=NodeKind.ATOMIC, handler="vary")
        self.nodes.append(Node(id=NodeId(spec.name), spec=spec, state=NodeState.FAILED, reason="the judge broke"))


def profiles(requests: list[EvaluationRequest]) -> list[str]:
    return [request.profile for request in requests]
