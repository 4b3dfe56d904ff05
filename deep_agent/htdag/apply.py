"""Owns how a patch changes a level, all or nothing; does not persist or dispatch."""

from deep_agent.errors import Conflict, InvalidInput
from deep_agent.htdag.level import Level
from deep_agent.htdag.moves import move
from deep_agent.htdag.node import UNSTARTED, Node, NodeSpec, NodeState, child_id
from deep_agent.htdag.patch import (
    AddNode,
    Connect,
    Edge,
    Hold,
    Operation,
    Patch,
    Rescind,
    SetParam,
    Supersede,
)

_REPLACEABLE_ENDS = frozenset({NodeState.DONE, NodeState.FAILED})
_GONE = frozenset({NodeState.RESCINDED, NodeState.SUPERSEDED})


def apply_patch(level: Level, patch: Patch, *, max_children: int, now_s: float) -> Level:
    """Give the level with the patch applied at the next revision; the given one stays as it is.

    Nodes keep waiting where they wait: `advance` starts what has become free.

    Args:
        level: the present level, at any revision from the patch's base on.
        patch: refused when a node it names changed since its base revision.
        max_children: nodes the level may have, ended ones included.
        now_s: when; withdrawn nodes end then.

    Raises:
        Conflict: a named node moved on, or is in a state the operation does not allow.
        InvalidInput: unknown or doubled names, a cycle, too many children, or a node left without a predecessor.
    """
    if patch.level != level.owner:
        raise InvalidInput(f"a patch of level {patch.level} cannot change level {level.owner}.")
    if level.closed:
        raise Conflict(f"level {level.owner} is closed.")
    _check_base(level, patch)
    draft = _Draft(level, now_s=now_s)
    for operation in patch.operations:
        draft.do(operation)
    return draft.finish(max_children=max_children)


def _check_base(level: Level, patch: Patch) -> None:
    """Refuse a patch that names a node which changed after its author looked."""
    for operation in patch.operations:
        for name in _named(operation):
            node = level.nodes.get(name)
            if node is not None and node.touched > patch.base_revision:
                raise Conflict(
                    f"node {node.id} changed at revision {node.touched}, after the patch's base {patch.base_revision}."
                )


class _Draft:
    """A level while one patch is worked into copies of its mappings; lives for one call."""

    def __init__(self, level: Level, *, now_s: float) -> None:
        self._level = level.draft()
        self._revision = self._level.revision
        self._now_s = now_s
        self._nodes: dict[str, Node] = dict(level.nodes)
        self._edges: dict[tuple[str, str], Edge] = dict(level.edges)

    def do(self, operation: Operation) -> None:
        match operation:
            case AddNode(spec=spec, after=after):
                self._add(spec, after)
            case Connect(edge=edge):
                self._existing(edge.src)
                self._waits(self._unstarted(edge.dst))
                self._edges[(edge.src, edge.dst)] = edge
            case Rescind(name=name, reason=reason):
                self._put(self._unstarted(name), NodeState.RESCINDED, reason=reason, ended_s=self._now_s)
            case Supersede(name=name, spec=spec, after=after):
                self._supersede(name, spec, after)
            case SetParam(name=name, key=key, value=value):
                node = self._unstarted(name)
                spec = node.spec.model_copy(update={"params": {**node.spec.params, key: value}})
                self._nodes[name] = node.model_copy(update={"spec": spec, "touched": self._revision})
            case Hold(op="pause", name=name):
                self._put(self._existing(name), NodeState.PAUSED)
            case Hold(name=name):
                self._put(self._existing(name), NodeState.PENDING)

    def finish(self, *, max_children: int) -> Level:
        """Check what holds for the whole level."""
        if len(self._nodes) > max_children:
            raise InvalidInput(
                f"level {self._level.owner} would have {len(self._nodes)} nodes; {max_children} are allowed."
            )
        for src, dst in self._edges:
            if self._nodes[dst].state in UNSTARTED and self._nodes[src].state in _GONE:
                raise InvalidInput(f"node {dst!r} would wait for {src!r}, which is {self._nodes[src].state}.")
        old = self._level.nodes
        changed = self._level.with_nodes(*(node for name, node in self._nodes.items() if old.get(name) is not node))
        if self._edges.keys() == self._level.edges.keys():
            return changed
        changed = changed.with_edges(self._edges)
        cycle = changed.cycle()
        if cycle:
            raise InvalidInput(f"level {self._level.owner} would wait for itself: {' -> '.join((*cycle, cycle[0]))}.")
        return changed

    def _add(self, spec: NodeSpec, after: tuple[str, ...], *, replaces: str | None = None) -> None:
        if spec.name in self._nodes:
            raise InvalidInput(f"level {self._level.owner} already has a node {spec.name!r}.")
        for src in after:
            self._existing(src)
            self._edges[(src, spec.name)] = Edge(src=src, dst=spec.name)
        self._nodes[spec.name] = Node(
            id=child_id(self._level.owner, spec.name),
            spec=spec,
            replaces=replaces,
            born=len(self._nodes),
            touched=self._revision,
        )

    def _supersede(self, name: str, spec: NodeSpec, after: tuple[str, ...]) -> None:
        old = self._existing(name)
        if old.state in UNSTARTED:
            self._put(old, NodeState.SUPERSEDED, reason=f"replaced by {spec.name}", ended_s=self._now_s)
        elif old.state not in _REPLACEABLE_ENDS:
            raise Conflict(f"node {old.id} is {old.state} and cannot be replaced now.")
        self._add(spec, after, replaces=name)
        for (src, dst), edge in tuple(self._edges.items()):
            if src == name and dst != spec.name and self._nodes[dst].state in UNSTARTED:
                del self._edges[(src, dst)]
                self._edges[(spec.name, dst)] = Edge(src=spec.name, dst=dst, kind=edge.kind)
                self._waits(self._nodes[dst])

    @staticmethod
    def _waits(node: Node) -> None:
        """A new predecessor comes too late for a node that was free and has been started on."""
        if node.state not in {NodeState.PENDING, NodeState.PAUSED}:
            raise Conflict(f"node {node.id} is {node.state}; it can no longer be made to wait.")

    def _put(self, node: Node, state: NodeState, **changes: object) -> None:
        self._nodes[node.name] = move(node, state, touched=self._revision, **changes)

    def _existing(self, name: str) -> Node:
        if name not in self._nodes:
            raise InvalidInput(f"level {self._level.owner} has no node {name!r}.")
        return self._nodes[name]

    def _unstarted(self, name: str) -> Node:
        node = self._existing(name)
        if node.state not in UNSTARTED:
            raise Conflict(f"node {node.id} is {node.state}; only a node that has not started can be changed.")
        return node


def _named(operation: Operation) -> tuple[str, ...]:
    """Names whose change since the base revision refuses the patch: what the operation alters, not what it waits for."""
    match operation:
        case AddNode():
            return ()
        case Connect(edge=edge):
            return (edge.dst,)
        case _:
            return (operation.name,)


def advance(level: Level, startable: tuple[Node, ...]) -> Level:
    """Start nodes that have become free: ATOMIC to DISPATCHED, COMPOSITE to EXPANDING, each on its next attempt."""
    return level.with_nodes(
        *(
            move(
                node,
                NodeState.READY,
                NodeState.EXPANDING if node.is_composite else NodeState.DISPATCHED,
                attempt=node.attempt + 1,
                touched=level.revision,
            )
            for node in startable
        )
    )


def wind_down(level: Level, *, reason: str, now_s: float) -> Level:
    """Withdraw everything that has not started; what runs goes on."""
    return level.with_nodes(
        *(
            move(node, NodeState.RESCINDED, reason=reason, touched=level.revision, ended_s=now_s)
            for node in level.nodes.values()
            if node.state in UNSTARTED
        )
    )
