"""Owns the level graph of one COMPOSITE node: siblings, their edges and the ready set; does not change them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import networkx as nx

from deep_agent.errors import NotFound
from deep_agent.htdag.node import Node, NodeId, NodeState
from deep_agent.htdag.patch import Edge


@dataclass(frozen=True, kw_only=True)
class Level:
    """One level at one revision.

    A dataclass, not a model: levels of thousands of nodes are copied at every hop, and each node was
    checked when it was made. The mappings are never edited in place.
    """

    owner: NodeId
    revision: int = 0
    """Grows with every commit that touches the level."""
    seen: int = 0
    """The revision up to which the method has answered."""
    closed: bool = False
    fault: str = ""
    """Why the level cannot go on; its node will fail with this reason."""
    nodes: Mapping[str, Node] = field(default_factory=dict)
    """By name, in order of creation."""
    edges: Mapping[tuple[str, str], Edge] = field(default_factory=dict)
    """By (src, dst)."""
    before: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Name -> predecessors; derived from the edges."""
    after: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Name -> successors; derived from the edges."""

    def node(self, name: str) -> Node:
        """Look up a node.

        Raises:
            NotFound: no such sibling.
        """
        if name not in self.nodes:
            raise NotFound(f"level {self.owner} has no node {name!r}.")
        return self.nodes[name]

    def with_nodes(self, *nodes: Node) -> "Level":
        """Give the level with these nodes put in by name."""
        return replace(self, nodes={**self.nodes, **{node.name: node for node in nodes}}) if nodes else self

    def with_edges(self, edges: Mapping[tuple[str, str], Edge]) -> "Level":
        """Give the level with exactly these edges, and the neighbours that follow from them."""
        before: dict[str, list[str]] = {}
        after: dict[str, list[str]] = {}
        for src, dst in edges:
            before.setdefault(dst, []).append(src)
            after.setdefault(src, []).append(dst)
        return replace(
            self,
            edges=edges,
            before={name: tuple(names) for name, names in before.items()},
            after={name: tuple(names) for name, names in after.items()},
        )

    def ended(self) -> tuple[Node, ...]:
        """Give the terminal nodes, in the order in which they ended."""
        return tuple(sorted((n for n in self.nodes.values() if n.is_terminal), key=lambda n: (n.touched, n.born)))

    def unseen(self) -> tuple[Node, ...]:
        """Give the nodes that ended since the method answered last."""
        return tuple(node for node in self.ended() if node.touched > self.seen)

    def startable(self) -> Iterator[Node]:
        """Give PENDING nodes whose predecessors are all DONE, in order of creation."""
        for node in self.nodes.values():
            if node.state is NodeState.PENDING and self.is_free(node.name):
                yield node

    def is_free(self, name: str) -> bool:
        """Whether every predecessor is DONE."""
        return all(self.nodes[src].state is NodeState.DONE for src in self.before.get(name, ()))

    def cycle(self) -> tuple[str, ...]:
        """Give the names along one cycle, or nothing when the level is acyclic."""
        graph: nx.DiGraph[str] = nx.DiGraph()
        graph.add_nodes_from(self.nodes)
        graph.add_edges_from(self.edges)
        if nx.is_directed_acyclic_graph(graph):
            return ()
        return tuple(src for src, _ in nx.find_cycle(graph))
