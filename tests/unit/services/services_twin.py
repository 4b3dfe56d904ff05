"""An application in memory: jobs move when a test says so."""

import itertools
import threading
import time

from services_builders import T0, make_graph, make_job, make_node, make_versions

from deep_agent.errors import Conflict, InvalidInput, NotFound
from deep_agent.htdag.goal import Goal
from deep_agent.htdag.hop import Accepted, IdempotencyKey
from deep_agent.htdag.job import Delivery, DeliveryAttempt, Event, GraphView, Job, JobPage, JobStatus, NodeView


class SteadyClock:
    def now_s(self) -> float:
        return T0 + 44

    def sleep(self, duration_s: float) -> None:
        time.sleep(duration_s)


class TwinApplication:
    def __init__(self) -> None:
        self.jobs_by_id: dict[str, Job] = {}
        self.graphs: dict[str, GraphView] = {}
        self.logs: dict[str, list[Event]] = {}
        self.keys: dict[str, tuple[str, str]] = {}
        self.sent: dict[str, tuple[tuple[Delivery, tuple[DeliveryAttempt, ...]], ...]] = {}
        self.calls: list[str] = []
        self.broken: Exception | None = None
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    @property
    def reads(self) -> "TwinApplication":
        return self

    @property
    def clock(self) -> SteadyClock:
        return SteadyClock()

    @property
    def leads(self) -> bool:
        return "start" in self.calls

    def start(self) -> None:
        self.calls.append("start")

    def stop(self, *, timeout_s: float) -> None:
        self.calls.append("stop")

    def submit(self, goal: Goal, *, idempotency: IdempotencyKey | None = None) -> Accepted:
        with self._lock:
            if idempotency is not None and idempotency.key in self.keys:
                known, job_id = self.keys[idempotency.key]
                if known != idempotency.request_hash:
                    raise InvalidInput("the idempotency key was used for another request.")
                return Accepted(job=self.jobs_by_id[job_id], created=False)
            number = next(self._numbers)
            job = make_job(f"j{number:03d}", problems=goal.problems, goal=goal, event_seq=0, created_s=T0 + number)
            self.jobs_by_id[job.id] = job
            self.graphs[job.id] = make_graph(goal.problems, job=job.id, n_vary=4)
            self.logs[job.id] = []
            if idempotency is not None:
                self.keys[idempotency.key] = (idempotency.request_hash, job.id)
        self.happen(job.id, "job.accepted")
        return Accepted(job=self.jobs_by_id[job.id], created=True)

    def happen(self, job_id: str, kind: str, node_id: str | None = None, **payload: object) -> None:
        """Append an event."""
        with self._lock:
            job = self.jobs_by_id[job_id]
            seq = job.event_seq + 1
            event = {"job_id": job_id, "seq": seq, "kind": kind, "node_id": node_id, "payload": payload, "at_s": T0}
            self.logs[job_id].append(Event.model_validate(event))
            self.jobs_by_id[job_id] = job.model_copy(update={"event_seq": seq, "version": job.version + 1})

    def set_status(self, job_id: str, status: str) -> Job:
        with self._lock:
            ended = T0 + 40 if status in {"succeeded", "failed", "cancelled"} else None
            old = self.jobs_by_id[job_id]
            self.jobs_by_id[job_id] = Job.model_validate(
                old.model_dump() | {"status": status, "ended_s": ended, "version": old.version + 1}
            )
        self.happen(job_id, "job.ended" if ended else f"job.{status}")
        return self.jobs_by_id[job_id]

    def set_node(self, job_id: str, node: NodeView) -> None:
        graph = self.graphs[job_id]
        others = [one for one in graph.nodes if one.id != node.id]
        self.graphs[job_id] = graph.model_copy(update={"nodes": (*others, node)})
        self.happen(job_id, f"node.{node.state}", node.id)

    def finish(self, job_id: str, *, verdict: str = "verified") -> None:
        """End every branch with a verdict."""
        best = {"time_us": 441.0, "speedup": 1.84, "speedup_ci": [1.8, 1.88], "sol_score": 0.7}
        best |= {"percent_of_sol": 68.0, "solution": "a" * 64}
        for node in self.graphs[job_id].nodes:
            outputs = {"verdict": verdict, "best": best} if node.handler == "verify" else node.outputs
            done = make_node(node.id, "done", kind=node.kind, params=node.params, title=node.title, outputs=outputs)
            self.set_node(job_id, done)
        self.set_status(job_id, "succeeded")

    def job(self, job_id: str) -> Job:
        if self.broken is not None:
            raise self.broken
        if job_id not in self.jobs_by_id:
            raise NotFound(f"no job {job_id!r}.", remedy="List jobs with `deep-agent jobs list`.")
        return self.jobs_by_id[job_id]

    def jobs(self, *, limit: int = 50, cursor: str | None = None, status: JobStatus | None = None) -> JobPage:
        if self.broken is not None:
            raise self.broken
        if cursor is not None and not cursor.isdecimal():
            raise InvalidInput(f"cursor {cursor!r} is not ours.")
        wanted = [job for job in reversed(self.jobs_by_id.values()) if status in {None, job.status}]
        start = int(cursor or 0)
        more = start + limit < len(wanted)
        return JobPage(jobs=tuple(wanted[start : start + limit]), next_cursor=str(start + limit) if more else None)

    def graph(self, job_id: str) -> GraphView:
        return self.graphs[self.job(job_id).id].model_copy(update={"event_seq": self.job(job_id).event_seq})

    def events(self, job_id: str, *, after: int = 0, limit: int = 500) -> tuple[Event, ...]:
        return tuple(self.logs[self.job(job_id).id][after : after + limit])

    def versions(self, job_id: str) -> tuple:
        return make_versions(job=self.job(job_id).id)

    def cancel(self, job_id: str, *, reason: str = "") -> Job:
        job = self.job(job_id)
        return job if job.has_ended else self.set_status(job_id, "cancelled")

    def pause(self, job_id: str) -> Job:
        return self.set_status(self.job(job_id).id, "paused")

    def resume(self, job_id: str) -> Job:
        if self.job(job_id).has_ended:
            raise Conflict(f"job {job_id} has ended.", remedy="Submit the goal again.")
        return self.set_status(job_id, "running")

    def report(self, job_id: str) -> str:
        if not self.job(job_id).has_ended:
            raise NotFound(f"job {job_id} has no report yet.")
        return "<!doctype html><style>b{color:red}</style><b>report</b>"

    def candidate(self, solution_hash: str):
        from builders import make_solution

        solution = make_solution()
        if solution.content_hash != solution_hash:
            raise NotFound(f"no candidate {solution_hash}.")
        return solution

    def problems(self) -> tuple:
        from builders import make_problem

        return (make_problem(),)

    def devices(self) -> tuple:
        from builders import make_device

        return (make_device(),)

    @property
    def deliveries(self) -> "TwinDeliveries":
        return TwinDeliveries(self)


class TwinDeliveries:
    def __init__(self, application: TwinApplication) -> None:
        self._application = application

    def deliveries(self, job_id: str) -> tuple:
        self._application.job(job_id)
        return self._application.sent.get(job_id, ())
