"""Owns how a change of the graph is written down: changed rows, events, hints; pure, decides nothing."""

from deep_agent.htdag.hop import AddedNode, EventDraft, Hint, NodeChange, Verb
from deep_agent.htdag.level import Level
from deep_agent.htdag.node import PLANNING_LANE, JobId, JsonObject, Node, NodeId, NodeState
from deep_agent.htdag.patch import Edge

_WITH_REASON = frozenset({NodeState.FAILED, NodeState.RESCINDED, NodeState.SUPERSEDED})
_HINTED = {NodeState.DISPATCHED: Verb.RUN, NodeState.EXPANDING: Verb.EXPAND}


class LevelDiff:
    """What differs between two values of one level, in order of creation."""

    def __init__(self, before: Level, after: Level) -> None:
        """Read what was edited in `after` since its draft of `before`."""
        old = before.nodes
        nodes = sorted((after.nodes[name] for name in after.edited), key=lambda node: node.born)
        self.changed = tuple(
            NodeChange(node=node, was_state=old[node.name].state, was_attempt=old[node.name].attempt)
            for node in nodes
            if node.name in old
        )
        self.added = tuple(AddedNode(node=node, level_id=after.owner) for node in nodes if node.name not in old)
        same = before.edges is after.edges
        self.edges_added: tuple[Edge, ...] = () if same else _missing(after, before)
        self.edges_removed: tuple[Edge, ...] = () if same else _missing(before, after)
        self._after = after

    def events(self) -> tuple[EventDraft, ...]:
        """Tell of every difference; a new node first waits, then starts."""
        owner = self._after.owner
        born = {added.node.name for added in self.added}
        drafts = [added_event(added.node, owner, self._after) for added in self.added]
        drafts += [
            EventDraft(kind=f"edge.{verb}", payload={"owner": owner, **edge.model_dump()})
            for verb, edges in (("added", self.edges_added), ("removed", self.edges_removed))
            for edge in edges
            if not (verb == "added" and edge.dst in born and edge.kind == "data")
        ]
        drafts += [moved_event(added.node) for added in self.added if added.node.state is not NodeState.PENDING]
        drafts += [
            moved_event(change.node) if change.node.state is not change.was_state else params_event(change.node)
            for change in self.changed
        ]
        return tuple(drafts)

    def hints(self, job_id: JobId) -> tuple[Hint, ...]:
        """Ask for the first hop of every node that was started."""
        nodes = [added.node for added in self.added]
        nodes += [change.node for change in self.changed if change.node.state is not change.was_state]
        return tuple(start_hint(node, job_id) for node in nodes if node.state in _HINTED)

    def withdrawn(self) -> tuple[str, ...]:
        """Give the keys of hints that must no longer be sent."""
        return tuple(
            f"{_HINTED[change.was_state]}:{change.node.id}:{change.was_attempt}"
            for change in self.changed
            if change.was_state in _HINTED and change.node.is_terminal
        )


def _missing(has: Level, lacks: Level) -> tuple[Edge, ...]:
    return tuple(edge for pair, edge in has.edges.items() if pair not in lacks.edges)


def start_hint(node: Node, job_id: JobId, *, not_before_s: float = 0.0) -> Hint:
    """Make the hint for a node that is DISPATCHED or EXPANDING."""
    return Hint(
        verb=_HINTED[node.state],
        node_id=node.id,
        job_id=job_id,
        attempt=node.attempt,
        lane=PLANNING_LANE if node.is_composite else node.spec.lane,
        # Planning goes before waiting bodies of the same lane: it is what gives the other lanes work.
        priority=-1.0 if node.is_composite else node.spec.priority,
        not_before_s=not_before_s,
    )


def planning_hint(verb: Verb, node_id: str, job_id: JobId, *, attempt: int = 0) -> Hint:
    """Make a `revise` or `settle` hint."""
    return Hint(verb=verb, node_id=NodeId(node_id), job_id=job_id, attempt=attempt, priority=-1.0)


def added_event(node: Node, owner: str, level: Level | None = None) -> EventDraft:
    """Tell of a new node, with all that replay needs."""
    spec = node.spec
    after = level.before.get(node.name, ()) if level else ()
    data = [src for src in after if level is not None and level.edges[(src, node.name)].kind == "data"]
    payload: JsonObject = {
        "owner": owner,
        "name": spec.name,
        "title": spec.title or spec.name,
        "kind": spec.kind.value,
        "handler": spec.handler,
        "lane": spec.lane,
        "params": spec.params,
        "after": list(data),
        "replaces": node.replaces,
    }
    return EventDraft(kind="node.added", node_id=node.id, attempt=0, payload=payload)


def moved_event(node: Node, **more: str | float) -> EventDraft:
    """Tell where a node stands now."""
    payload: JsonObject = dict(more)
    if node.state in _WITH_REASON:
        payload["reason"] = node.reason
    elif node.state is NodeState.DONE:
        payload["note"] = node.reason
        payload["spend"] = node.spend.model_dump(exclude_defaults=True)
    return EventDraft(kind=f"node.{node.state}", node_id=node.id, attempt=node.attempt, payload=payload)


def params_event(node: Node) -> EventDraft:
    """Tell of changed parameters."""
    return EventDraft(kind="node.changed", node_id=node.id, attempt=node.attempt, payload={"params": node.spec.params})
