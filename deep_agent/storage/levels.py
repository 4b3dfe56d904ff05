"""Owns reading one level, whole or what changed since a revision; decides nothing."""

from dataclasses import replace

import sqlalchemy as sa

from deep_agent.htdag.level import Level
from deep_agent.htdag.node import JsonObject, NodeId
from deep_agent.htdag.patch import Edge
from deep_agent.storage.prepared import Prepared
from deep_agent.storage.rows import EDGE, LEVEL, NODE, node_of

_LEVEL = Prepared(sa.select(LEVEL).where(LEVEL.c.node_id == sa.bindparam("at_level")))
_SINCE = Prepared(
    sa.select(NODE).where(NODE.c.level_id == sa.bindparam("at_level"), NODE.c.touched > sa.bindparam("at_revision"))
)
_ALL = Prepared(sa.select(NODE).where(NODE.c.level_id == sa.bindparam("at_level")).order_by(NODE.c.born))
_EDGES = Prepared(sa.select(EDGE).where(EDGE.c.level_id == sa.bindparam("at_level")))
_INPUTS = Prepared(
    sa.select(NODE.c.name, NODE.c.outputs)
    .join(EDGE, sa.and_(EDGE.c.level_id == NODE.c.level_id, EDGE.c.src == NODE.c.name))
    .where(EDGE.c.level_id == sa.bindparam("at_level"), EDGE.c.dst == sa.bindparam("at_name"), EDGE.c.kind == "data")
    .order_by(NODE.c.born)
)


def load(connection: sa.Connection, owner: NodeId, *, known: Level | None) -> Level | None:
    """Read a level; None before it was opened.

    Args:
        connection: an open transaction: all of it is read at one moment.
        owner: the COMPOSITE.
        known: the level at an earlier revision, whose unchanged nodes are taken over.
    """
    row = _LEVEL.first(connection, {"at_level": owner})
    if row is None:
        return None
    if known is None or known.revision < row.shape_revision or known.revision > row.revision:
        level = _whole(connection, owner)
    elif known.revision < row.revision:
        changed = _SINCE.all(connection, {"at_level": owner, "at_revision": known.revision})
        level = known.with_nodes(*(node_of(node) for node in changed))
    else:
        level = known
    fresh = level.fresh if level.seen == row.seen else frozenset(n.name for n in level.ended() if n.touched > row.seen)
    return replace(level, revision=row.revision, seen=row.seen, closed=bool(row.closed), fault=row.fault, fresh=fresh)


def _whole(connection: sa.Connection, owner: NodeId) -> Level:
    nodes = [node_of(row) for row in _ALL.all(connection, {"at_level": owner})]
    edges = {
        (row.src, row.dst): Edge(src=row.src, dst=row.dst, kind=row.kind)
        for row in _EDGES.all(connection, {"at_level": owner})
    }
    return Level(owner=owner).with_nodes(*nodes).with_edges(edges)


def inputs(connection: sa.Connection, level_id: str, name: str) -> dict[str, JsonObject]:
    """Read the outputs of a node's data predecessors, by name."""
    rows = _INPUTS.all(connection, {"at_level": level_id, "at_name": name})
    return {row.name: row.outputs or {} for row in rows}
