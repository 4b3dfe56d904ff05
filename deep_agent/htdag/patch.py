"""Owns the patch algebra as values: an atomic change of one level; `apply` carries it out."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from deep_agent.htdag.node import NodeId, NodeName, NodeSpec
from deep_agent.problem.value import FrozenValue


class Edge(FrozenValue):
    """An order between siblings."""

    src: NodeName
    dst: NodeName
    kind: Literal["data", "order"] = "data"
    """data: the outputs of src are an input of dst. order: dst only waits."""


class AddNode(FrozenValue):
    """A new node behind the named siblings."""

    op: Literal["add"] = "add"
    spec: NodeSpec
    after: tuple[NodeName, ...] = ()
    """Predecessors, by data edges."""


class Connect(FrozenValue):
    """A new edge; its target has not started."""

    op: Literal["connect"] = "connect"
    edge: Edge


class Rescind(FrozenValue):
    """Withdraw a node that has not started; its consumers go in the same patch."""

    op: Literal["rescind"] = "rescind"
    name: NodeName
    reason: str


class Supersede(FrozenValue):
    """Put a new node in the place of one that has not started, or that ended DONE or FAILED.

    Un-started consumers wait for the new one instead. An ended node keeps its row.
    """

    op: Literal["supersede"] = "supersede"
    name: NodeName
    spec: NodeSpec
    after: tuple[NodeName, ...] = ()


class SetParam(FrozenValue):
    """Change one parameter of a node that has not started."""

    op: Literal["set"] = "set"
    name: NodeName
    key: str
    value: JsonValue


class Hold(FrozenValue):
    """Pause a node that waits, or let it go on."""

    op: Literal["pause", "resume"]
    name: NodeName


Operation = Annotated[AddNode | Connect | Rescind | Supersede | SetParam | Hold, Field(discriminator="op")]


class Patch(FrozenValue):
    """An atomic change of one level: all its operations apply or none."""

    level: NodeId
    """The COMPOSITE node that owns the level."""
    base_revision: Annotated[int, Field(ge=0)]
    """What the author had seen; a named node that changed since refuses the patch."""
    reason: str
    evidence: tuple[str, ...] = ()
    operations: tuple[Operation, ...]
