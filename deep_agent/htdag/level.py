"""Owns the level graph of one COMPOSITE node: siblings, their edges and the ready set; does not change them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import networkx as nx

from deep_agent.errors import NotFound
from deep_agent.htdag.node import TERMINAL, Node, NodeId, NodeState
from deep_agent.htdag.patch import Edge

_IDLE = TERMINAL | {NodeState.PENDING}


@dataclass(frozen=True, kw_only=True)
class Level:
    """One level at one revision.

    A dataclass, not a model: levels of thousands of nodes are copied at every hop, and each node was
    checked when it was made. The mappings are never edited in place. `busy`, `fresh` and `edited` follow
    from the nodes and are kept along, so that a hop costs what changed and not what there is.
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
    busy: frozenset[str] = frozenset()
    """Names of nodes that are neither PENDING nor terminal."""
    fresh: frozenset[str] = frozenset()
    """Names of nodes that ended after `seen`."""
    edited: frozenset[str] = frozenset()
    """Names of nodes put in since `draft`."""

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
        if not nodes:
            return self
        names = frozenset(node.name for node in nodes)
        busy = frozenset(node.name for node in nodes if node.state not in _IDLE)
        fresh = frozenset(node.name for node in nodes if node.is_terminal and node.touched > self.seen)
        return replace(
            self,
            nodes={**self.nodes, **{node.name: node for node in nodes}},
            busy=(self.busy - names) | busy,
            fresh=(self.fresh - names) | fresh,
            edited=self.edited | names,
        )

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

    def draft(self) -> "Level":
        """Give the level at its next revision, with nothing edited yet."""
        return replace(self, revision=self.revision + 1, edited=frozenset())

    def answered(self, *, fault: str) -> "Level":
        """Give the level as its method leaves it: everything up to here is seen."""
        return replace(self, seen=self.revision, fresh=frozenset(), fault=self.fault or fault)

    def ended(self) -> tuple[Node, ...]:
        """Give the terminal nodes, in the order in which they ended."""
        return _by_end(node for node in self.nodes.values() if node.is_terminal)

    def unseen(self) -> tuple[Node, ...]:
        """Give the nodes that ended since the method answered last, in the order in which they ended."""
        return _by_end(self.nodes[name] for name in self.fresh)

    def startable(self) -> tuple[Node, ...]:
        """Give PENDING nodes whose predecessors are all DONE, in order of creation."""
        return tuple(
            node for node in self.nodes.values() if node.state is NodeState.PENDING and self._is_free(node.name)
        )

    def startable_since(self, earlier: "Level") -> tuple[Node, ...]:
        """Give what `startable` gives, provided nothing was startable in `earlier` before its fresh nodes ended.

        Only successors of nodes that ended or were edited since, and edited nodes themselves, can have become so.
        """
        moved = earlier.fresh | self.edited
        names = self.edited.union(*(self.after.get(name, ()) for name in moved))
        free = (
            self.nodes[name] for name in names if self.nodes[name].state is NodeState.PENDING and self._is_free(name)
        )
        return tuple(sorted(free, key=lambda node: node.born))

    def _is_free(self, name: str) -> bool:
        return all(self.nodes[src].state is NodeState.DONE for src in self.before.get(name, ()))

    def cycle(self) -> tuple[str, ...]:
        """Give the names along one cycle, or nothing when the level is acyclic."""
        graph: nx.DiGraph[str] = nx.DiGraph()
        graph.add_nodes_from(self.nodes)
        graph.add_edges_from(self.edges)
        if nx.is_directed_acyclic_graph(graph):
            return ()
        return tuple(src for src, _ in nx.find_cycle(graph))


def _by_end(nodes: Iterable[Node]) -> tuple[Node, ...]:
    return tuple(sorted(nodes, key=lambda node: (node.touched, node.born)))
