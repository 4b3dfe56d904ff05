"""Owns what an action is given and how it stops: Action, ActionContext, Interrupted; runs nothing itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from deep_agent.htdag.goal import Goal, Spend
from deep_agent.htdag.node import JobId, JsonObject, Node, NodeId
from deep_agent.htdag.outcome import Outcome


class Interrupted(Exception):
    """The action stopped because it was asked to; nothing of the attempt counts."""


@dataclass(frozen=True, kw_only=True)
class ActionContext:
    """Everything an action may know of its place, and its only ways to speak before it ends.

    All moments are seconds since the epoch.
    """

    job_id: JobId
    node_id: NodeId
    """Equal over all attempts: the key of external effects is (node_id, effect)."""
    attempt: int
    goal: Goal
    params: JsonObject
    deadline_s: float
    """When the attempt must have ended; the action keeps it, nobody kills it."""
    job_deadline_s: float
    """When the goal's wall budget is gone."""
    job_spend: Spend
    """What the job had spent when the attempt started."""
    now_s: Callable[[], float]
    cancelled: Callable[[], bool]
    """Whether to stop; ask at least twice a second, and stop within a second of True."""
    progress: Callable[[str, JsonObject], None]
    """Append an event (kind, payload) of this node while it runs; at most about two a second."""
    siblings: Callable[[], tuple[Node, ...]]
    """The ended nodes of the same level, oldest first; each call reads anew."""
    owner_inputs: Callable[[], Mapping[str, JsonObject]]
    """What the enclosing COMPOSITE got: outputs by predecessor name."""

    def check(self) -> None:
        """Stop here if asked to.

        Raises:
            Interrupted: the job was cancelled, the process is stopping, or the attempt is no longer current.
        """
        if self.cancelled():
            raise Interrupted


class Action(Protocol):
    """What an ATOMIC node does; one instance serves all nodes, in several threads at once.

    May run more than once for the same node; its result is accepted from exactly one attempt.
    """

    def run(self, inputs: Mapping[str, JsonObject], ctx: ActionContext) -> Outcome:
        """Do it.

        Args:
            inputs: outputs of the data predecessors, by node name.
            ctx: see `ActionContext`.

        Raises:
            Interrupted: it stopped as asked.
            HarnessFailed, ModelFailed, ResourceExhausted: infrastructure; tried again after a wait, up to the cap.
            DeepAgentError: any other of ours fails the node with its message and remedy as the reason.
        """
        ...
