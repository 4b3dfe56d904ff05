"""Owns the way from a job's nodes to the content of its report; pure."""

from collections.abc import Mapping

from deep_agent.executor.findings import CharacterizeFinding, VaryFinding, VerifyFinding, library_solution
from deep_agent.executor.report.content import Ending, ProblemContent, ReportContent, SearchStep
from deep_agent.htdag.goal import Goal, Spend
from deep_agent.htdag.job import GraphView, NodeView
from deep_agent.htdag.node import NodeState
from deep_agent.problem.solution import Solution


def report_content(graph: GraphView, goal: Goal, *, spend: Spend, written_at: str) -> ReportContent:
    """Collect a report from whatever the nodes of a job hold by now.

    Args:
        graph: all nodes of the job.
        goal: what was asked.
        spend: what the whole job has used.
        written_at: ISO 8601, UTC.
    """
    branches = [node for node in graph.nodes if node.handler == "optimize"]
    known = [_characterized(_children(graph, branch)) for branch in branches]
    return ReportContent(
        job=graph.job_id,
        goal=goal,
        device=next((one.device for one in known if one is not None), None),
        written_at=written_at,
        problems=tuple(_problem_content(graph, branch, one) for branch, one in zip(branches, known, strict=True)),
        spend=spend,
    )


def _children(graph: GraphView, owner: NodeView) -> Mapping[str, NodeView]:
    return {node.name: node for node in graph.nodes if node.owner == owner.id}


def _characterized(children: Mapping[str, NodeView]) -> CharacterizeFinding | None:
    node = children.get("characterize")
    if node is None or node.state is not NodeState.DONE or node.outputs is None:
        return None
    return CharacterizeFinding.model_validate(node.outputs)


def _verified(children: Mapping[str, NodeView]) -> VerifyFinding | None:
    """Read the last verification that came to an end."""
    ended = [node for node in children.values() if node.handler == "verify" and node.state is NodeState.DONE]
    outputs = ended[-1].outputs if ended else None
    return VerifyFinding.model_validate(outputs) if outputs is not None else None


def _problem_content(graph: GraphView, branch: NodeView, known: CharacterizeFinding | None) -> ProblemContent:
    children = _children(graph, branch)
    verified = _verified(children)
    evolve = children.get("evolve")
    ending, answer = _ending(known, verified)
    return ProblemContent(
        name=known.problem.name if known is not None else _asked_name(branch),
        problem=known.problem if known is not None else None,
        ending=ending,
        ending_reason=_reason(ending, children, verified, _exhaustion(graph, evolve)),
        characterization=known.characterization if known is not None else None,
        bounds=known.bounds if known is not None else (),
        notes=known.notes if known is not None else (),
        verification=verified.evaluation if verified is not None else None,
        judged="refuted" if verified is not None and verified.verdict == "refuted" else "answer",
        answer=answer,
        first=verified.first if verified is not None else None,
        steps=_steps(graph, evolve) if evolve is not None else (),
        spend=_spend(graph, branch),
    )


def _asked_name(branch: NodeView) -> str:
    return str(branch.params.get("problem", branch.name)).rstrip("/").rpartition("/")[2]


def _ending(known: CharacterizeFinding | None, verified: VerifyFinding | None) -> tuple[Ending, Solution | None]:
    if known is None:
        return "failed", None
    if verified is None:
        return "unfinished", None
    if verified.verdict == "verified":
        return "faster", verified.solution
    library = library_solution(known.characterization)
    return "no_faster", verified.solution if verified.verdict == "library" and verified.solution else library


def _exhaustion(graph: GraphView, evolve: NodeView | None) -> str:
    """Give the operator's own words for having nothing to try, such as what could not be lowered."""
    attempts = [node for node in graph.nodes if evolve is not None and node.owner == evolve.id and node.outputs]
    last = attempts[-1].outputs if attempts else None
    if last is None or last.get("outcome") != "nothing_left":
        return ""
    return str(last.get("message", ""))


def _reason(ending: Ending, children: Mapping[str, NodeView], verified: VerifyFinding | None, exhaustion: str) -> str:
    """Say why it ended so: what broke, else why the search stopped and what the verification added."""
    broken = [node.reason for node in children.values() if node.state is NodeState.FAILED and node.reason]
    if ending in {"failed", "unfinished"} and broken:
        return broken[0]
    evolve = children.get("evolve")
    stopped = str((evolve.outputs or {}).get("reason", "")) if evolve is not None else ""
    refused = verified.message if verified is not None and verified.verdict == "refuted" else ""
    return " ".join(_sentence(words) for words in (stopped, exhaustion, refused) if words.strip())


def _sentence(words: str) -> str:
    first = words.split(maxsplit=1)[0]
    begun = words[0].upper() + words[1:] if first.isalpha() else words  # `aten.mm` keeps its spelling
    return begun + ("" if words.endswith((".", "!", "?")) else ".")


def _steps(graph: GraphView, evolve: NodeView) -> tuple[SearchStep, ...]:
    attempts = [node for node in graph.nodes if node.owner == evolve.id and node.handler == "vary"]
    ended = [node for node in attempts if node.state in {NodeState.DONE, NodeState.FAILED}]
    steps = (_step(number, node) for number, node in enumerate(ended, start=1))
    return tuple(step for step in steps if step.outcome != "nothing_left")


def _step(number: int, node: NodeView) -> SearchStep:
    if node.state is NodeState.FAILED or node.outputs is None:
        return SearchStep(number=number, outcome="error", status="error", message=node.reason)
    found = VaryFinding.model_validate(node.outputs)
    return SearchStep(
        number=number,
        outcome=found.outcome,
        version=found.seq,
        speedup=found.speedup,
        sol_score=found.sol_score,
        status=found.status,
        message=found.message,
        note=found.note,
    )


def _spend(graph: GraphView, branch: NodeView) -> Spend:
    """Add up what the branch's nodes used; composites carry no spend of their own."""
    inside = (node.spend for node in graph.nodes if node.id.startswith(f"{branch.id}.") and node.kind == "atomic")
    return sum(inside, start=Spend())
