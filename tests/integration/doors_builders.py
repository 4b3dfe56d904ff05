"""A whole application with toy actions on the real engine, for tests of the doors."""

import os
import random
import time
from collections.abc import Mapping
from pathlib import Path

from builders import make_bound, make_device, make_evaluation, make_problem, make_ratio, make_solution

from deep_agent.errors import InvalidInput, NotFound
from deep_agent.executor import control, submit
from deep_agent.executor.action import ActionContext
from deep_agent.executor.application import BoundReport
from deep_agent.executor.egress import AllowList, Egress, check_url
from deep_agent.executor.engine import Engine, EngineParts
from deep_agent.executor.notify import WebhookNotifier, signing_secret
from deep_agent.htdag.goal import Goal, Spend
from deep_agent.htdag.hop import Accepted, IdempotencyKey
from deep_agent.htdag.job import Job
from deep_agent.htdag.node import JsonObject
from deep_agent.htdag.outcome import Announcement, Outcome, VersionEntry
from deep_agent.htdag.search import SearchDecision, SearchHistory
from deep_agent.planner.builtin import builtin_methods
from deep_agent.problem.readers import read_problem
from deep_agent.queues.home_lock import FileHomeLock
from deep_agent.queues.lanes import InProcessLanes
from deep_agent.settings import Settings
from deep_agent.storage.open import open_storage

STEP_S = float(os.environ.get("DOORS_STEP_S", "0.1"))
KNOWN: JsonObject = {"device": {"name": "cpu"}, "baseline": {"name": "eager_out", "time_us": 800.0}, "bounds": []}


class WallClock:
    def now_s(self) -> float:
        return time.time()

    def sleep(self, duration_s: float) -> None:
        time.sleep(duration_s)


def pause(ctx: ActionContext, duration_s: float) -> None:
    end_s = time.monotonic() + duration_s
    while time.monotonic() < end_s:
        ctx.check()
        time.sleep(0.01)


def best(speedup: float) -> JsonObject:
    return {
        "time_us": 800.0 / speedup,
        "speedup": speedup,
        "speedup_ci": [speedup * 0.98, speedup * 1.02],
        "sol_score": 0.6,
        "percent_of_sol": 70.0,
        "solution": make_solution().content_hash,
    }


class ToyCharacterize:
    def run(self, inputs: Mapping[str, JsonObject], ctx: ActionContext) -> Outcome:
        pause(ctx, STEP_S)
        if "broken" in str(ctx.params["problem"]):
            raise InvalidInput("the reference of broken returns NaN.", remedy="Correct the reference.")
        return Outcome(outputs=KNOWN)


class ToyVary:
    def run(self, inputs: Mapping[str, JsonObject], ctx: ActionContext) -> Outcome:
        pause(ctx, STEP_S)
        index = int(str(ctx.params["index"]))
        evaluation = make_evaluation(speedup=make_ratio(1.1 + index / 10), profile="gate")
        version = VersionEntry(
            search=str(ctx.params["search"]),
            seq=index,
            commit_sha=f"{index:040x}",
            kind="improve" if index else "seed",
            solution_hash=f"{index:064x}",
            evaluation=evaluation.model_dump(mode="json"),
            sol_score=0.5,
        )
        record: JsonObject = {"outcome": "improve", "fingerprint": f"h{index}", "sol_score": 0.5, "note": "8 lanes"}
        return Outcome(outputs=record, versions=(version,), spend=Spend(evaluations=1, device_s=STEP_S))


class ToyVerify:
    def run(self, inputs: Mapping[str, JsonObject], ctx: ActionContext) -> Outcome:
        pause(ctx, STEP_S)
        problem = str(ctx.params["problem"])
        if "gemm" in problem:
            return Outcome(outputs={"verdict": "library", "solution_hash": "", "best": best(1.0)})
        told = Announcement(type="kernel.verified", payload={"problem": problem, "speedup": 1.5})
        return Outcome(outputs={"verdict": "verified", "solution_hash": "h", "best": best(1.5)}, announcements=(told,))


class ToyPackage:
    def __init__(self, home: Path) -> None:
        self._home = home

    def run(self, inputs: Mapping[str, JsonObject], ctx: ActionContext) -> Outcome:
        folder = self._home / "jobs" / ctx.job_id / Path(str(ctx.params["problem"])).name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "solution.json").write_text(make_solution().model_dump_json())
        return Outcome(outputs={"path": str(folder), "files": ["solution.json"]})


class ToyReport:
    def __init__(self, home: Path) -> None:
        self._home = home

    def run(self, inputs: Mapping[str, JsonObject], ctx: ActionContext) -> Outcome:
        path = self._home / "jobs" / ctx.job_id / "report.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("<!doctype html><title>report</title><h1>Toy report</h1>")
        return Outcome(outputs={"report": str(path)})


def policy(history: SearchHistory) -> SearchDecision:
    if len(history.records) >= 12 or history.remaining_s < 1:
        return SearchDecision(verb="end", reason="twelve steps were made")
    return SearchDecision(verb="vary", reason="more")


class ToyApplication:
    """The Protocol `services.application.Application`, small: everything real but judging."""

    def __init__(self, settings: Settings) -> None:
        home = settings.home_path
        self._home = home
        self._allow = AllowList(settings.webhook_allow)
        self._storage = open_storage(home, synchronous="NORMAL")
        self._lock = FileHomeLock(home)
        self.clock = WallClock()
        self.reads = self._storage.reads
        self.deliveries = self._storage.deliveries
        self._engine = Engine(
            EngineParts(
                store=self._storage.store,
                deliveries=self.deliveries,
                transport=InProcessLanes({"think": 2, "build": 1, "cpu": 2}),
                clock=self.clock,
                lock=self._lock,
                notifier=WebhookNotifier(
                    self.deliveries,
                    Egress(self._allow, monotonic_s=time.monotonic),
                    secret=self.webhook_secret,
                    clock=self.clock,
                    monotonic_s=time.monotonic,
                    rng=random.Random(1),
                ),
                actions={
                    "characterize": ToyCharacterize(),
                    "vary": ToyVary(),
                    "verify": ToyVerify(),
                    "package": ToyPackage(home),
                    "report": ToyReport(home),
                },
                methods=builtin_methods(policy),
            )
        )
        self._stopped = False

    @property
    def leads(self) -> bool:
        return self._engine.leads

    def start(self) -> None:
        self._engine.start()

    def stop(self, *, timeout_s: float) -> None:
        if not self._stopped:
            self._stopped = True
            self._engine.stop(timeout_s=timeout_s)
            self._storage.close()

    def submit(self, goal: Goal, *, idempotency: IdempotencyKey | None = None) -> Accepted:
        if goal.device not in {"auto", "cpu"}:
            raise InvalidInput(f"device {goal.device!r} is unknown.", remedy="Known devices: cpu, auto.")
        if goal.webhook is not None:
            check_url(goal.webhook, self._allow)
        for problem in goal.problems:
            read_problem(Path(problem), "cpu")
        accepted = submit.accept(self._storage.store, self.clock, goal, idempotency=idempotency)
        self._engine.wake()
        return accepted

    def cancel(self, job_id: str, *, reason: str = "asked by the user") -> Job:
        job = control.cancel(self._storage.store, self.reads, self.clock, job_id, reason=reason)
        self._engine.wake()
        return job

    def pause(self, job_id: str) -> Job:
        return control.pause(self._storage.store, self.reads, self.clock, job_id)

    def resume(self, job_id: str) -> Job:
        job = control.resume(self._storage.store, self.reads, self.clock, job_id)
        self._engine.wake()
        return job

    def report(self, job_id: str) -> str:
        path = self._home / "jobs" / self.reads.job(job_id).id / "report.html"
        if not path.is_file():
            raise NotFound(f"job {job_id} has no report yet.")
        return path.read_text()

    def candidate(self, solution_hash: str):
        raise NotFound(f"no candidate {solution_hash}.")

    def problems(self) -> tuple:
        return (make_problem(),)

    def devices(self) -> tuple:
        return (make_device(),)

    def webhook_secret(self) -> str:
        return signing_secret(self._home)

    def is_led_elsewhere(self) -> bool:
        if not self._lock.acquire():
            return True
        self._lock.release()
        return False

    def evaluate(self, problem: str, solution, *, device: str):
        read_problem(Path(problem), "cpu")
        status = "PASSED" if solution.name != "bad" else "INCORRECT_NUMERICAL"
        return make_evaluation(status=status, profile="gate")

    def bound(self, problem: str, *, device: str) -> BoundReport:
        found = make_problem()
        return BoundReport(problem=found, device=make_device(), bounds=(make_bound("w1"),))


def build(settings: Settings) -> ToyApplication:
    return ToyApplication(settings)
