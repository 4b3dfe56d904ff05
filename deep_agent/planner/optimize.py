"""Owns the method of one problem: characterize, evolve, verify, package, with a repair when a champion is refuted; pure."""

import re
from pathlib import PurePath
from typing import Literal

from deep_agent.htdag.node import JsonObject, Node, NodeKind, NodeSpec, NodeState, RunLimit
from deep_agent.htdag.outcome import Outcome
from deep_agent.htdag.patch import AddNode, Operation, Patch, Rescind, Supersede
from deep_agent.planner import shares
from deep_agent.planner.method import View
from deep_agent.planner.seeds import derived_seed

CHARACTERIZE_AT_LEAST_S = 20.0
PACKAGE_AT_LEAST_S = 5.0
_FAILED = NodeState.FAILED
_DONE = NodeState.DONE

Candidate = Literal["champion", "runner_up", "library"]
_NEXT: dict[str, Candidate] = {"champion": "runner_up", "runner_up": "library"}
"""Refuted candidate -> the one verified in its place."""


class OptimizeMethod:
    """Finds, proves and packs the fastest kernel of one problem; where none is faster, the library's call."""

    max_children = 12

    def expand(self, node: Node, view: View) -> Patch:
        """Plan the four steps in a row."""
        problem, index = str(node.spec.params["problem"]), node.spec.params["index"]
        characterize = NodeSpec(
            name="characterize",
            kind=NodeKind.ATOMIC,
            handler="characterize",
            lane="think",
            params={"problem": problem, "index": index},
            limit=RunLimit(reserve_s=_tail_s(view), least_s=CHARACTERIZE_AT_LEAST_S),
        )
        evolve = NodeSpec(
            name="evolve",
            kind=NodeKind.COMPOSITE,
            handler="evolve",
            params={
                "problem": problem,
                "index": index,
                "seed": derived_seed(view.goal.seed, PurePath(problem).name),
                "search": f"{_slug(problem)}-{index}",
            },
        )
        return view.patch(
            "characterize, search, prove, pack",
            AddNode(spec=characterize),
            AddNode(spec=evolve, after=("characterize",)),
            AddNode(spec=_verify(node, view, "verify", "champion"), after=("characterize", "evolve")),
            AddNode(spec=_package(node, "package"), after=("characterize", "evolve", "verify")),
        )

    def revise(self, node: Node, view: View) -> Patch | None:
        """Give up without a characterization; repair a verification that did not hold."""
        children = view.level.nodes
        if children["characterize"].state is _FAILED and not children["evolve"].is_terminal:
            why = "the problem could not be characterized"
            return view.patch(why, *(Rescind(name=name, reason=why) for name in ("evolve", "verify", "package")))
        if children["evolve"].state is _FAILED and children["verify"].state is NodeState.PENDING:
            return view.patch("the search failed; prove what it left", *_without_search(node, view))
        return self._repair(node, view)

    def conclude(self, node: Node, view: View) -> Outcome:
        """Succeed when the package stands, be it of the library's own call."""
        steps = {name: _latest(view, name) for name in ("characterize", "evolve", "verify", "package")}
        left: dict[str, JsonObject | None] = {name: step.outputs if step else None for name, step in steps.items()}
        verify, package = steps["verify"], steps["package"]
        proven = (left["verify"] or {}) if verify is not None and verify.state is _DONE else {}
        outputs: JsonObject = {
            "problem": node.spec.params["problem"],
            "verdict": proven.get("verdict"),
            **left,
        }
        if package is not None and package.state is _DONE:
            return Outcome(outputs=outputs)
        failed = next((child for child in view.level.ended() if child.state is _FAILED), None)
        reason = f"{failed.name}: {failed.reason}" if failed else "its steps were withdrawn"
        return Outcome(status="failed", reason=reason, outputs=outputs)

    def _repair(self, node: Node, view: View) -> Patch | None:
        """Answer to a verification that ended without a verdict to publish."""
        verify, package = _latest(view, "verify"), _latest(view, "package")
        if verify is None or package is None:
            return None
        candidate = str(verify.spec.params["candidate"])
        waits = package.state is NodeState.PENDING
        if not waits or (candidate == "library" and verify.state is not _FAILED):
            return None
        if verify.state is _FAILED:
            if candidate == "library":
                return view.patch("nothing could be verified", Rescind(name=package.name, reason=verify.reason))
            return _verify_next(node, view, verify, "library", why=f"verification failed: {verify.reason}")
        if verify.state is _DONE and (verify.outputs or {}).get("verdict") == "refuted":
            following = _NEXT[candidate] if _has_time(view) else "library"
            return _verify_next(node, view, verify, following, why=f"the {candidate} was refuted")
        return None


def _verify_next(node: Node, view: View, verify: Node, candidate: Candidate, *, why: str) -> Patch:
    n_verified = sum(child.spec.handler == "verify" for child in view.level.nodes.values())
    spec = _verify(node, view, f"verify-{n_verified + 1}", candidate)
    after = tuple(name for name in ("characterize", "evolve") if view.level.nodes[name].state is _DONE)
    return view.patch(why, Supersede(name=verify.name, spec=spec, after=after))


def _without_search(node: Node, view: View) -> tuple[Operation, ...]:
    return (
        Supersede(name="verify", spec=_verify(node, view, "verify-2", "champion"), after=("characterize",)),
        Supersede(name="package", spec=_package(node, "package-2"), after=("characterize", "verify-2")),
    )


def _verify(node: Node, view: View, name: str, candidate: Candidate) -> NodeSpec:
    refuted = [
        (child.outputs or {}).get("solution_hash")
        for child in view.level.nodes.values()
        if child.spec.handler == "verify" and child.state is _DONE
    ]
    return NodeSpec(
        name=name,
        kind=NodeKind.ATOMIC,
        handler="verify",
        lane="think",
        # Before any search: it ends a branch, and its time is kept back for it.
        priority=-1.0,
        params={
            "problem": node.spec.params["problem"],
            "index": node.spec.params["index"],
            "candidate": candidate,
            "refuted": refuted,
        },
        limit=RunLimit(reserve_s=shares.report_s(view.goal.budget.wall_s), least_s=_tail_s(view)),
    )


def _package(node: Node, name: str) -> NodeSpec:
    return NodeSpec(
        name=name,
        kind=NodeKind.ATOMIC,
        handler="package",
        params={"problem": node.spec.params["problem"], "index": node.spec.params["index"]},
        limit=RunLimit(least_s=PACKAGE_AT_LEAST_S),
    )


def _latest(view: View, handler: str) -> Node | None:
    """Give the child that stands for a step now: the last one made; None when the plan was never made."""
    children = [child for child in view.level.nodes.values() if child.spec.handler == handler]
    return children[-1] if children else None


def _tail_s(view: View) -> float:
    characterize = view.level.nodes.get("characterize")
    took_s = None
    if characterize is not None and characterize.ended_s is not None and characterize.started_s is not None:
        took_s = characterize.ended_s - characterize.started_s
    return shares.tail_s(view.goal.budget.wall_s, n_branches=len(view.goal.problems), characterize_s=took_s)


def _has_time(view: View) -> bool:
    """Whether another full verification fits before the report."""
    return view.deadline_s - view.now_s > _tail_s(view) + shares.report_s(view.goal.budget.wall_s)


def _slug(problem: str) -> str:
    return re.sub(r"[^a-z0-9_]+", "-", PurePath(problem).name.lower()).strip("-") or "problem"
