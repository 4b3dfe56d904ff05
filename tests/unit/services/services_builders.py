"""Jobs, graphs and versions valid by default, for the tests of the doors."""

import itertools
from collections.abc import Sequence
from typing import Any

from builders import make_bound, make_evaluation, make_ratio, make_workload_evaluation

from deep_agent.htdag.goal import Goal, Spend
from deep_agent.htdag.job import EdgeView, Event, GraphView, Job, NodeView, VersionView
from deep_agent.problem.evaluation import ArmTiming
from services.views import JobView, job_view

T0 = 1_790_000_000.0
JOB = "job-7f3a"


def make_job(job_id: str = JOB, *, problems: Sequence[str] = ("/p/rmsnorm",), **fields: Any) -> Job:
    given = {
        "id": job_id,
        "project": "default",
        "goal": Goal(problems=tuple(problems), device="cpu"),
        "status": "running",
        "created_s": T0,
        "deadline_s": T0 + 120,
        "counted_s": T0,
        "spend": Spend(device_s=21.5, evaluations=37),
        "version": 9,
        "event_seq": 41,
    }
    return Job.model_validate(given | fields)


def make_node(node_id: str, state: str = "pending", **fields: Any) -> NodeView:
    owner, _, name = node_id.rpartition(".")
    started = None if state == "pending" else T0 + 1
    given = {
        "id": node_id,
        "owner": owner,
        "name": name,
        "title": "",
        "kind": "atomic",
        "handler": name.partition("-")[0],
        "lane": "cpu",
        "state": state,
        "attempt": 1,
        "params": {},
        "outputs": None,
        "reason": "",
        "spend": Spend(),
        "replaces": None,
        "started_s": started,
        "ended_s": T0 + 3.5 if state in {"done", "failed", "rescinded"} else None,
    }
    return NodeView.model_validate(given | fields)


def make_branch(
    index: int, problem: str, *, n_vary: int = 9, running: int = 1, job: str = JOB
) -> tuple[list[NodeView], list[EdgeView]]:
    """One problem in the middle of its search."""
    root = f"{job}.goal.optimize-{index}"
    known = {
        "device": {"name": "cpu"},
        "baseline": {"name": "torch_compile", "time_us": 812.0},
        "bounds": [make_bound("w1", 300.0).model_dump(mode="json")],
    }
    nodes = [
        make_node(root, "running", kind="composite", params={"problem": problem}, title=problem.rpartition("/")[2]),
        make_node(f"{root}.characterize", "done", outputs=known),
        make_node(f"{root}.evolve", "running", kind="composite"),
        make_node(f"{root}.verify"),
        make_node(f"{root}.package"),
    ]
    steps = [f"{root}.{name}" for name in ("characterize", "evolve", "verify", "package")]
    edges = [make_edge(a, b) for a, b in itertools.pairwise(steps)]
    for i in range(n_vary):
        state = "running" if i >= n_vary - running else ("failed" if i % 7 == 3 else "done")
        reason = "the kernel did not build: expected ';' before '}'" if state == "failed" else ""
        spend = Spend(evaluations=1, device_s=0.5)
        nodes.append(
            make_node(f"{root}.evolve.vary-{i + 1:04d}", state, reason=reason, spend=spend, outputs={"note": "8 lanes"})
        )
    return nodes, edges


def make_edge(src: str, dst: str) -> EdgeView:
    return EdgeView.model_validate({"src": src, "dst": dst, "kind": "data"})


def make_graph(problems: Sequence[str] = ("/p/rmsnorm",), *, job: str = JOB, **branch: int) -> GraphView:
    nodes = [make_node(f"{job}.goal", "running", kind="composite", title="goal")]
    edges: list[EdgeView] = []
    for index, problem in enumerate(problems, start=1):
        more, joined = make_branch(index, problem, job=job, **branch)
        nodes += more
        edges += [*joined, make_edge(f"{job}.goal.optimize-{index}", f"{job}.goal.report")]
    nodes.append(make_node(f"{job}.goal.report"))
    return GraphView.model_validate({"job_id": job, "event_seq": 41, "nodes": tuple(nodes), "edges": tuple(edges)})


def make_versions(index: int = 1, *, job: str = JOB) -> tuple[VersionView, ...]:
    return tuple(
        VersionView.model_validate(
            {
                "job_id": job,
                "node_id": f"{job}.goal.optimize-{index}.evolve.vary-{seq + 1:04d}",
                "search": f"s{index}",
                "seq": seq,
                "commit_sha": f"{seq:040x}",
                "kind": "improve" if seq else "seed",
                "solution_hash": f"{seq:064x}",
                "parent_seq": None,
                "evaluation": make_evaluation(
                    make_workload_evaluation(candidate=ArmTiming(time_us=812.0 / speedup, cpu_us=1.0)),
                    speedup=make_ratio(speedup, 0.02),
                    profile="gate",
                ).model_dump(mode="json"),
                "sol_score": 0.4 + seq / 20,
                "at_s": T0 + seq,
            }
        )
        for seq, speedup in enumerate((0.92, 1.1, 1.41, 1.84))
    )


def make_events(n: int = 12, *, job: str = JOB) -> tuple[Event, ...]:
    return tuple(
        Event.model_validate(
            {
                "job_id": job,
                "seq": i + 1,
                "kind": "node.done",
                "node_id": f"{job}.goal.optimize-1.evolve.vary-{i + 1:04d}",
                "attempt": 1,
                "payload": {"note": "1.84 times as fast"},
                "at_s": T0 + i,
            }
        )
        for i in range(n)
    )


def make_view(problems: Sequence[str] = ("/p/rmsnorm",), job_id: str = JOB, **fields: Any) -> JobView:
    job = make_job(job_id, problems=problems, **fields)
    return job_view(job, make_graph(problems, job=job_id), make_versions(job=job_id))
