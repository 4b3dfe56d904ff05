"""Owns what a method is and what it may see; does not plan."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from deep_agent.htdag.goal import Goal
from deep_agent.htdag.level import Level
from deep_agent.htdag.node import JsonObject, Node
from deep_agent.htdag.outcome import Outcome
from deep_agent.htdag.patch import Operation, Patch


@dataclass(frozen=True, kw_only=True)
class View:
    """All that a method may know: no transcripts, no insides of children.

    All moments are seconds since the epoch.
    """

    goal: Goal
    now_s: float
    deadline_s: float
    """When the goal's wall budget is gone."""
    inputs: Mapping[str, JsonObject]
    """Outputs of the node's own predecessors."""
    level: Level
    """Its children with their states and outputs; empty at `expand`."""
    open_composites: Mapping[str, int]
    """Method name -> composites of the job that have not ended, this one included."""

    def patch(self, reason: str, *operations: Operation) -> Patch:
        """Make a patch of the level at the revision in view."""
        return Patch(
            level=self.level.owner, base_revision=self.level.revision, reason=reason, operations=tuple(operations)
        )


class Method(Protocol):
    """How a COMPOSITE node grows. Pure: no clock, no files, no chance; equal arguments give equal answers."""

    @property
    def max_children(self) -> int:
        """How many children a level may ever have; so unrolling ends."""
        ...

    def expand(self, node: Node, view: View) -> Patch:
        """Plan the first children."""
        ...

    def revise(self, node: Node, view: View) -> Patch | None:
        """Answer to children that ended (`view.level.unseen()`); None changes nothing.

        When the answer is None and no child runs or can start, the level closes.
        """
        ...

    def conclude(self, node: Node, view: View) -> Outcome:
        """Say how the node ends, and with which outputs, once its level is closed."""
        ...
