"""Owns the legal moves of a node; does not decide when to make one."""

from collections.abc import Mapping

from deep_agent.errors import Conflict
from deep_agent.htdag.node import Node, NodeKind, NodeState

S = NodeState

LEGAL_MOVES: Mapping[NodeState, frozenset[NodeState]] = {
    S.PENDING: frozenset({S.READY, S.PAUSED, S.RESCINDED, S.SUPERSEDED}),
    S.READY: frozenset({S.EXPANDING, S.DISPATCHED, S.PAUSED, S.RESCINDED, S.SUPERSEDED}),
    S.EXPANDING: frozenset({S.RUNNING, S.RESCINDED, S.SUPERSEDED}),
    S.DISPATCHED: frozenset({S.RUNNING, S.RESCINDED, S.SUPERSEDED}),
    S.RUNNING: frozenset({S.VALIDATING, S.WAITING_USER, S.DISPATCHED, S.RESCINDED}),
    S.VALIDATING: frozenset({S.DONE, S.FAILED}),
    S.PAUSED: frozenset({S.PENDING, S.READY, S.RESCINDED, S.SUPERSEDED}),
    S.WAITING_USER: frozenset({S.RUNNING, S.RESCINDED}),
    S.DONE: frozenset(),
    S.FAILED: frozenset(),
    S.RESCINDED: frozenset(),
    S.SUPERSEDED: frozenset(),
}
"""State -> what may follow. A terminal state has no successor."""

_ONE_KIND: Mapping[NodeState, NodeKind] = {S.EXPANDING: NodeKind.COMPOSITE, S.DISPATCHED: NodeKind.ATOMIC}


def move(node: Node, *steps: NodeState, **changes: object) -> Node:
    """Give the node after the steps, each checked, with other fields changed along.

    Args:
        node: stays as it is.
        steps: states to pass through, in order; a hop may make several moves in one commit.
        changes: fields of `Node` that change with the move.

    Raises:
        Conflict: a step is not legal for the node's state or kind.
    """
    state = node.state
    for step in steps:
        if step not in LEGAL_MOVES[state]:
            raise Conflict(f"node {node.id} is {state}, which cannot become {step}.")
        if _ONE_KIND.get(step, node.spec.kind) is not node.spec.kind:
            raise Conflict(f"node {node.id} is {node.spec.kind}, which cannot become {step}.")
        state = step
    return node.model_copy(update={"state": state, **changes})
