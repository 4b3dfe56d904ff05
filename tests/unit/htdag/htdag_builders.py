"""Levels, nodes and random patches for tests of the task graph."""

from hypothesis import strategies as st

from deep_agent.htdag.level import Level
from deep_agent.htdag.node import NodeId, NodeKind, NodeSpec
from deep_agent.htdag.patch import AddNode, Connect, Edge, Hold, Operation, Patch, Rescind, SetParam, Supersede

OWNER = NodeId("j1.goal")
NAMES = [f"n{i}" for i in range(5)]


def a_spec(name: str, kind: NodeKind = NodeKind.ATOMIC, **changes) -> NodeSpec:
    return NodeSpec(name=name, kind=kind, handler="noop", **changes)


def add(name: str, *after: str, kind: NodeKind = NodeKind.ATOMIC) -> AddNode:
    return AddNode(spec=a_spec(name, kind), after=after)


def a_patch(level: Level, *operations: Operation, base: int | None = None) -> Patch:
    revision = level.revision if base is None else base
    return Patch(level=level.owner, base_revision=revision, reason="test", operations=operations)


names = st.sampled_from(NAMES)
kinds = st.sampled_from(list(NodeKind))
operations = st.one_of(
    st.builds(AddNode, spec=st.builds(a_spec, names, kinds), after=st.lists(names, max_size=3, unique=True).map(tuple)),
    st.builds(Connect, edge=st.builds(Edge, src=names, dst=names, kind=st.sampled_from(["data", "order"]))),
    st.builds(Rescind, name=names, reason=st.just("no longer wanted")),
    st.builds(
        Supersede, name=names, spec=st.builds(a_spec, names, kinds), after=st.lists(names, max_size=2).map(tuple)
    ),
    st.builds(SetParam, name=names, key=st.just("k"), value=st.integers()),
    st.builds(Hold, op=st.sampled_from(["pause", "resume"]), name=names),
)
"""Any operation on any of five names: most are refused, which is half of what is tested."""
