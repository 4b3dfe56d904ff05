"""Report contents for the report's tests."""

from typing import Any

from builders import (
    make_bound,
    make_characterization,
    make_device,
    make_evaluation,
    make_goal,
    make_problem,
    make_solution,
)

from deep_agent.executor.action import ActionContext
from deep_agent.executor.findings import CharacterizeFinding, VerifyFinding
from deep_agent.executor.report.content import ProblemContent, ReportContent, SearchStep
from deep_agent.htdag.goal import Spend
from deep_agent.htdag.job import GraphView, NodeView
from deep_agent.htdag.node import JobId

SPEND = Spend(wall_s=61.2, device_s=40.1, evaluations=12)


def make_steps() -> tuple[SearchStep, ...]:
    return (
        SearchStep(number=1, outcome="improve", version=1, speedup=1.1, sol_score=0.52, note="seed schedule"),
        SearchStep(number=2, outcome="failed", status="COMPILE_ERROR", message="kernel.cpp:3: expected ';'\nmore"),
        SearchStep(number=3, outcome="rejected", speedup=0.9, sol_score=0.52),
        SearchStep(number=4, outcome="failed", status="COMPILE_ERROR", message="kernel.cpp:3: expected ';'"),
        SearchStep(number=5, outcome="failed", status="INCORRECT_NUMERICAL", message="off by 0.3 at w1"),
        SearchStep(number=6, outcome="improve", version=2, speedup=1.5, sol_score=0.66, note="unroll 4"),
    )


def make_problem_content(**changes: Any) -> ProblemContent:
    fields: dict[str, Any] = {
        "name": "double",
        "problem": make_problem(),
        "ending": "faster",
        "ending_reason": "No better kernel in the last 24 evaluations.",
        "characterization": make_characterization(),
        "bounds": (make_bound(),),
        "verification": make_evaluation(),
        "answer": make_solution(),
        "first": make_solution(make_solution().sources[0].content.replace("2.0f * from[i]", "from[i] + from[i]")),
        "steps": make_steps(),
        "spend": SPEND,
    }
    return ProblemContent.model_validate(fields | changes)


def make_report_content(*problems: ProblemContent, **changes: Any) -> ReportContent:
    fields: dict[str, Any] = {
        "job": "job-1",
        "goal": make_goal(),
        "device": make_device(),
        "written_at": "2026-01-02T03:04:05Z",
        "problems": problems or (make_problem_content(),),
        "spend": SPEND,
    }
    return ReportContent.model_validate(fields | changes)


def make_known(**changes: Any) -> CharacterizeFinding:
    fields: dict[str, Any] = {
        "problem": make_problem(),
        "characterization": make_characterization(),
        "bounds": (make_bound(),),
        "device": make_device(),
    }
    return CharacterizeFinding.model_validate(fields | changes)


def make_verified(**changes: Any) -> VerifyFinding:
    fields: dict[str, Any] = {
        "verdict": "verified",
        "solution_hash": make_solution().content_hash,
        "solution": make_solution(),
        "evaluation": make_evaluation(),
    }
    return VerifyFinding.model_validate(fields | changes)


def make_context(**changes: Any) -> ActionContext:
    """A context in which nothing is cancelled and nothing is heard."""
    fields: dict[str, Any] = {
        "job_id": "job-1",
        "node_id": "job-1.goal.optimize-1.package",
        "attempt": 1,
        "goal": make_goal(),
        "params": {"problem": "problems/double"},
        "deadline_s": 100.0,
        "job_deadline_s": 100.0,
        "job_spend": SPEND,
        "now_s": lambda: 50.0,
        "cancelled": lambda: False,
        "progress": lambda _kind, _payload: None,
        "siblings": tuple,
        "owner_inputs": dict,
    }
    return ActionContext(**(fields | changes))


def make_node_view(node_id: str, handler: str, **changes: Any) -> NodeView:
    """A node that is done; its name and owner come from its id."""
    owner, _, name = node_id.rpartition(".")
    fields: dict[str, Any] = {
        "id": node_id,
        "owner": owner,
        "name": name,
        "title": name,
        "kind": "composite" if handler in {"goal", "optimize", "evolve"} else "atomic",
        "handler": handler,
        "lane": "cpu",
        "state": "done",
        "attempt": 1,
        "params": {},
        "outputs": {},
        "reason": "",
        "spend": Spend(),
        "replaces": None,
        "started_s": 1.0,
        "ended_s": 2.0,
    }
    return NodeView.model_validate(fields | changes)


def make_graph(*nodes: NodeView) -> GraphView:
    return GraphView(job_id=JobId("job-1"), event_seq=9, nodes=nodes, edges=())
