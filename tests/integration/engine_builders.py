"""Toy actions, methods and a wired engine for tests of the durable engine."""

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from deep_agent.executor.action import Action, ActionContext
from deep_agent.executor.engine import Engine, EngineParts
from deep_agent.htdag.goal import Budget, Goal
from deep_agent.htdag.job import Delivery, DeliveryAttempt, Job
from deep_agent.htdag.node import JsonObject
from deep_agent.htdag.outcome import Announcement, Outcome, VersionEntry
from deep_agent.htdag.search import SearchDecision, SearchHistory
from deep_agent.planner.builtin import builtin_methods
from deep_agent.planner.method import Method
from deep_agent.ports import Deliveries
from deep_agent.queues.home_lock import FileHomeLock
from deep_agent.queues.lanes import InProcessLanes
from deep_agent.storage.open import Storage, open_storage


class WallClock:
    def now_s(self) -> float:
        return time.time()

    def sleep(self, duration_s: float) -> None:
        time.sleep(duration_s)


class RecordingNotifier:
    """Delivers everything at once and notes it."""

    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries
        self.received: list[Delivery] = []

    def deliver(self, delivery: Delivery) -> None:
        self.received.append(delivery)
        attempt = DeliveryAttempt(n=delivery.tries + 1, at_s=time.time(), status_code=204)
        self._deliveries.record_attempt(delivery.id, attempt)


def steps(n: int):
    """A policy that varies n times."""

    def policy(history: SearchHistory) -> SearchDecision:
        if len(history.records) >= n:
            return SearchDecision(verb="end", reason=f"{n} steps were made")
        return SearchDecision(verb="vary", reason="more")

    return policy


class Toy:
    """An action that sleeps and leaves fixed outputs."""

    def __init__(self, outputs: JsonObject | None = None, *, sleep_s: float = 0.0) -> None:
        self.outputs = outputs or {}
        self.sleep_s = sleep_s
        self.runs: list[str] = []
        self._lock = threading.Lock()

    def run(self, inputs: Mapping[str, JsonObject], ctx: ActionContext) -> Outcome:
        with self._lock:
            self.runs.append(f"{ctx.node_id}#{ctx.attempt}")
        end_s = time.monotonic() + self.sleep_s
        while time.monotonic() < end_s:
            ctx.check()
            time.sleep(0.01)
        return Outcome(outputs=self.outputs)


class ToyVary(Toy):
    """Leaves a record and a version of the lineage."""

    def run(self, inputs: Mapping[str, JsonObject], ctx: ActionContext) -> Outcome:
        super().run(inputs, ctx)
        index = int(str(ctx.params["index"]))
        version = VersionEntry(
            search=str(ctx.params["search"]),
            seq=index,
            commit_sha=f"c{index}",
            kind="improve" if index else "seed",
            solution_hash=f"h{index}",
        )
        record: JsonObject = {"outcome": "improve", "fingerprint": f"h{index}", "sol_score": 0.5}
        return Outcome(outputs=record, versions=(version,))


class ToyVerify(Toy):
    """Announces a verified kernel."""

    def run(self, inputs: Mapping[str, JsonObject], ctx: ActionContext) -> Outcome:
        super().run(inputs, ctx)
        return Outcome(
            outputs={"verdict": "verified", "solution_hash": "h"},
            announcements=(Announcement(type="kernel.verified", payload={"problem": ctx.params["problem"]}),),
        )


def toy_actions(*, sleep_s: float = 0.0) -> dict[str, Action]:
    return {
        "characterize": Toy({"noise": 1.0}, sleep_s=sleep_s),
        "vary": ToyVary(sleep_s=sleep_s),
        "verify": ToyVerify(sleep_s=sleep_s),
        "package": Toy({"artefact": "x"}),
        "report": Toy({"path": "report.html"}),
    }


def a_goal(*names: str, wall_s: float = 120.0, webhook: str | None = None) -> Goal:
    return Goal(problems=names or ("rmsnorm",), budget=Budget(wall_s=wall_s), webhook=webhook)


class Wired:
    """One engine over one home folder, with everything at hand."""

    def __init__(
        self,
        home: Path,
        *,
        actions: Mapping[str, Action] | None = None,
        methods: Mapping[str, Method] | None = None,
        n_steps: int = 3,
        lanes: Mapping[str, int] | None = None,
    ) -> None:
        self.storage: Storage = open_storage(home)
        self.clock = WallClock()
        self.notifier = RecordingNotifier(self.storage.deliveries)
        self.actions = actions if actions is not None else toy_actions()
        self.engine = Engine(
            EngineParts(
                store=self.storage.store,
                deliveries=self.storage.deliveries,
                transport=InProcessLanes(lanes or {"think": 2, "build": 1, "cpu": 2}),
                clock=self.clock,
                lock=FileHomeLock(home),
                notifier=self.notifier,
                actions=self.actions,
                methods=methods if methods is not None else builtin_methods(steps(n_steps)),
            )
        )

    def __enter__(self) -> Self:
        self.engine.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.stop()
        self.storage.close()

    def follow(self, job_id: str, *, timeout_s: float = 30.0) -> Job:
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s:
            job = self.storage.reads.job(job_id)
            if job.has_ended:
                return job
            time.sleep(0.02)
        seen = [(n.id, n.state.value, n.attempt) for n in self.storage.reads.graph(job_id).nodes]
        raise AssertionError(f"job {job_id} did not end: {seen}")
