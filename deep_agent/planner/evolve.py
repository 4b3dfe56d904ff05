"""Owns the method of a search: one `vary` after another, while the policy says so; pure."""

from collections import Counter

from pydantic import ValidationError

from deep_agent.errors import InvalidInput
from deep_agent.htdag.node import JsonObject, Node, NodeKind, NodeSpec, NodeState, RunLimit
from deep_agent.htdag.outcome import Outcome
from deep_agent.htdag.patch import AddNode, Patch
from deep_agent.htdag.search import SearchDecision, SearchHistory, VaryRecord
from deep_agent.planner import shares
from deep_agent.planner.method import View
from deep_agent.planner.seeds import derived_seed
from deep_agent.ports import SearchPolicy

MAX_ERRORS_IN_A_ROW = 3
"""Failed `vary` nodes after which the search ends: each was tried several times already."""


class EvolveMethod:
    """Unrolls a search into the graph, so that no process lives as long as it."""

    max_children = 5000

    def __init__(self, policy: SearchPolicy) -> None:
        self._policy = policy

    def expand(self, node: Node, view: View) -> Patch:
        """Begin with the first step, if there is time for one."""
        return self.revise(node, view) or view.patch("no time for a search")

    def revise(self, node: Node, view: View) -> Patch | None:
        """Append a step when the last one has ended and the policy wants another."""
        if any(not child.is_terminal for child in view.level.nodes.values()):
            return None
        decision = self._decision(node, view)
        if decision.verb == "end":
            return None
        return view.patch(decision.reason, AddNode(spec=self._vary(node, view)))

    def conclude(self, node: Node, view: View) -> Outcome:
        """Always succeed: a search that found nothing is an answer."""
        history = _history(node, view)
        outputs: JsonObject = {
            "search": node.spec.params["search"],
            "varied": len(history.records),
            "outcomes": dict(Counter(record.outcome for record in history.records)),
            "sol_score": history.records[-1].sol_score if history.records else None,
            "reason": self._decision(node, view).reason,
        }
        return Outcome(outputs=outputs)

    def _decision(self, node: Node, view: View) -> SearchDecision:
        history = _history(node, view)
        last = [record.outcome for record in history.records[-MAX_ERRORS_IN_A_ROW:]]
        if last == ["error"] * MAX_ERRORS_IN_A_ROW:
            return SearchDecision(verb="end", reason=f"{MAX_ERRORS_IN_A_ROW} steps in a row failed on infrastructure")
        return self._policy(history)

    def _vary(self, node: Node, view: View) -> NodeSpec:
        params, index = node.spec.params, len(view.level.nodes)
        used_s = sum(_took_s(child) for child in view.level.nodes.values())
        return NodeSpec(
            name=f"vary-{index + 1:04d}",
            kind=NodeKind.ATOMIC,
            handler="vary",
            lane="think",
            # The search that has used least goes first: fair in time, whatever a step of each takes.
            priority=round(used_s, 3),
            params={
                "problem": params["problem"],
                "index": index,
                "seed": derived_seed(_whole(params["seed"]), index),
                "search": params["search"],
            },
            limit=RunLimit(reserve_s=_kept_back_s(view)),
        )


def _history(node: Node, view: View) -> SearchHistory:
    budget = view.goal.budget
    started_s = node.started_s if node.started_s is not None else view.now_s
    return SearchHistory(
        records=tuple(_record(child) for child in view.level.ended()),
        elapsed_s=max(0.0, view.now_s - started_s),
        remaining_s=shares.search_share_s(
            left_s=view.deadline_s - view.now_s,
            kept_back_s=_kept_back_s(view),
            n_open_searches=view.open_composites.get("evolve", 1),
        ),
        max_evaluations=budget.evaluations,
        stall_evaluations=view.goal.stop.stall_evaluations,
        target_sol_score=view.goal.stop.sol_score,
    )


def _record(child: Node) -> VaryRecord:
    """Read what a step left; one that failed says nothing about the search."""
    if child.state is not NodeState.DONE:
        return VaryRecord(outcome="error", fingerprint="", spend=child.spend)
    outputs = child.outputs or {}
    try:
        return VaryRecord.model_validate(
            {**{key: outputs.get(key) for key in ("outcome", "fingerprint", "sol_score")}, "spend": child.spend}
        )
    except ValidationError as error:
        raise InvalidInput(f"node {child.id} left outputs that are no record of a step: {error}.") from error


def _kept_back_s(view: View) -> float:
    budget_s = view.goal.budget.wall_s
    took_s = view.inputs.get("characterize", {}).get("wall_s")
    tail_s = shares.tail_s(
        budget_s,
        n_branches=len(view.goal.problems),
        characterize_s=float(took_s) if isinstance(took_s, int | float) else None,
    )
    return shares.kept_back_s(budget_s, n_open_branches=view.open_composites.get("optimize", 1), tail_s=tail_s)


def _took_s(child: Node) -> float:
    if child.started_s is None or child.ended_s is None:
        return 0.0
    return child.ended_s - child.started_s


def _whole(value: object) -> int:
    if not isinstance(value, int):
        raise InvalidInput(f"the seed {value!r} of a search is no whole number.")
    return value
