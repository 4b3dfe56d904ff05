"""Owns the root's method: one `optimize` branch a problem, then the report; pure."""

from pathlib import PurePath

from deep_agent.htdag.node import JsonObject, Node, NodeKind, NodeSpec, NodeState, RunLimit
from deep_agent.htdag.outcome import Outcome
from deep_agent.htdag.patch import AddNode, Patch
from deep_agent.planner.method import View

REPORT_AT_LEAST_S = 10.0


class GoalMethod:
    """Solves the problems of a goal side by side; one that fails leaves the others alone."""

    max_children = 65
    """Problems of a goal, and the report."""

    def expand(self, node: Node, view: View) -> Patch:
        """Open a branch for every problem."""
        branches = [
            AddNode(
                spec=NodeSpec(
                    name=f"optimize-{index}",
                    kind=NodeKind.COMPOSITE,
                    handler="optimize",
                    title=PurePath(problem).name,
                    params={"problem": problem, "index": index},
                )
            )
            for index, problem in enumerate(view.goal.problems, start=1)
        ]
        return view.patch("one branch a problem", *branches)

    def revise(self, node: Node, view: View) -> Patch | None:
        """Report once every branch has ended, however it ended."""
        if "report" in view.level.nodes or any(not child.is_terminal for child in view.level.nodes.values()):
            return None
        report = NodeSpec(
            name="report",
            kind=NodeKind.ATOMIC,
            handler="report",
            title="report",
            limit=RunLimit(least_s=REPORT_AT_LEAST_S),
        )
        return view.patch("every branch has ended", AddNode(spec=report))

    def conclude(self, node: Node, view: View) -> Outcome:
        """Succeed when the report stands; `solved` counts the problems with a verified faster kernel."""
        branches = [_branch(child) for child in view.level.nodes.values() if child.spec.handler == "optimize"]
        report = view.level.nodes.get("report")
        outputs: JsonObject = {
            "problems": len(branches),
            "solved": sum(branch["verdict"] == "verified" for branch in branches),
            "branches": list(branches),
            "report": report.outputs if report else None,
        }
        if report is not None and report.state is NodeState.DONE:
            return Outcome(outputs=outputs)
        why = report.reason if report else "no report was made"
        return Outcome(status="failed", reason=f"the report failed: {why}", outputs=outputs)


def _branch(child: Node) -> JsonObject:
    outputs = child.outputs or {}
    return {
        "node": child.name,
        "problem": child.spec.params["problem"],
        "state": child.state.value,
        "reason": child.reason,
        "verdict": outputs.get("verdict"),
    }
