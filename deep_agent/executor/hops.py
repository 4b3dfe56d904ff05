"""Owns planning hops: load, ask the method, apply, commit, for expand, revise and settle; does not run actions."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from threading import Lock
from typing import Protocol

from deep_agent.errors import DeepAgentError, InvalidInput
from deep_agent.executor import decide
from deep_agent.executor.decide import Answer
from deep_agent.htdag.hop import Commit, Hint, Planning, Verb, Verdict
from deep_agent.htdag.job import JobStatus
from deep_agent.htdag.level import Level
from deep_agent.htdag.node import NodeState
from deep_agent.htdag.outcome import Outcome
from deep_agent.planner.method import Method, View
from deep_agent.ports import Clock, Store

LEVELS_KEPT = 64


class Write(Protocol):
    """Turns a method's answer into the commit and the level as it will stand."""

    def __call__(self, planning: Planning, answer: Answer, *, max_children: int, now_s: float) -> tuple[Commit, Level]:
        """Raises DeepAgentError when the answer's patch cannot be applied."""
        ...


class LevelMemory:
    """The last levels seen, each at some revision, so that a hop reads only what changed since."""

    def __init__(self, *, kept: int = LEVELS_KEPT) -> None:
        self._kept = kept
        self._levels: OrderedDict[str, Level] = OrderedDict()
        self._lock = Lock()

    def get(self, owner: str) -> Level | None:
        """Give the level as it was seen last; any revision is right, an old one only costs reading."""
        with self._lock:
            return self._levels.get(owner)

    def put(self, level: Level) -> None:
        """Keep it, unless a later revision is kept already."""
        with self._lock:
            kept = self._levels.get(level.owner)
            if kept is None or kept.revision < level.revision:
                self._levels[level.owner] = level
            self._levels.move_to_end(level.owner)
            while len(self._levels) > self._kept:
                self._levels.popitem(last=False)


@dataclass(frozen=True, kw_only=True)
class Planner:
    """Carries out planning hops; methods are pure, so a lost compare-and-swap asks them again."""

    store: Store
    clock: Clock
    methods: Mapping[str, Method]
    memory: LevelMemory

    def hop(self, hint: Hint, *, fault: str = "") -> Verdict:
        """Do what the hint asks, once; FENCED when it must wait.

        Args:
            hint: an `expand`, `revise` or `settle`.
            fault: why the method cannot be asked; its node then fails with this reason.
        """
        left: Level | None = None

        def decide(planning: Planning) -> Commit:
            nonlocal left
            commit, left = self._decide(planning, hint, fault)
            return replace(commit, handled=hint.key)

        verdict = Verdict.MOVED
        while verdict is Verdict.MOVED:
            verdict = self.store.plan(hint.node_id, decide, known=self.memory.get(hint.node_id))
        if verdict is Verdict.COMMITTED and left is not None:
            self.memory.put(left)
        return verdict

    def _decide(self, planning: Planning, hint: Hint, fault: str) -> tuple[Commit, Level | None]:
        node, now_s = planning.node, self.clock.now_s()
        current = node.attempt == hint.attempt
        if hint.verb is Verb.EXPAND and current and node.state is NodeState.EXPANDING:
            return self._plan(planning, fault, decide.opened)
        if hint.verb is Verb.REVISE and decide.needs_answer(planning):
            return self._plan(planning, fault, decide.answered)
        closed = planning.level is not None and planning.level.closed
        if hint.verb is Verb.SETTLE and current and closed and node.state is NodeState.RUNNING:
            return decide.settled(planning, self._conclude(planning, fault), now_s=now_s), planning.level
        # Doubled, late or overtaken: its effect is there, only the outbox row goes.
        return Commit(job_id=hint.job_id, now_s=now_s), planning.level

    def _plan(self, planning: Planning, fault: str, write: Write) -> tuple[Commit, Level]:
        now_s = self.clock.now_s()
        try:
            method = self._method(planning)
            answer = Answer(fault=fault) if fault or _is_stopping(planning) else self._ask(method, planning, now_s)
            return write(planning, answer, max_children=method.max_children, now_s=now_s)
        except DeepAgentError as error:
            return write(planning, Answer(fault=str(error)), max_children=0, now_s=now_s)

    def _ask(self, method: Method, planning: Planning, now_s: float) -> Answer:
        view = _view(planning, now_s)
        if planning.level is None:
            return Answer(patch=method.expand(planning.node, view))
        return Answer(patch=method.revise(planning.node, view))

    def _conclude(self, planning: Planning, fault: str) -> Outcome:
        assert planning.level is not None
        if fault:
            return Outcome(status="failed", reason=fault)
        try:
            outcome = self._method(planning).conclude(planning.node, _view(planning, self.clock.now_s()))
        except DeepAgentError as error:
            return Outcome(status="failed", reason=planning.level.fault or str(error))
        if planning.level.fault:
            return outcome.model_copy(update={"status": "failed", "reason": planning.level.fault})
        return outcome

    def _method(self, planning: Planning) -> Method:
        handler = planning.node.spec.handler
        if handler not in self.methods:
            raise InvalidInput(f"no method {handler!r} is known here; known are {', '.join(sorted(self.methods))}.")
        return self.methods[handler]


def _is_stopping(planning: Planning) -> bool:
    return planning.job.status is JobStatus.CANCELLING or bool(planning.level and planning.level.fault)


def _view(planning: Planning, now_s: float) -> View:
    return View(
        goal=planning.job.goal,
        now_s=now_s,
        deadline_s=planning.job.deadline_s,
        inputs=planning.inputs,
        level=planning.level or Level(owner=planning.node.id),
        open_composites=planning.open_composites,
    )
