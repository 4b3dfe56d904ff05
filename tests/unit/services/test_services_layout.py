import itertools

import hypothesis.strategies as st
from hypothesis import given, settings

from services.dashboard.layout import Box, LayoutNode, Picture, lay_out


def chain(n: int, parent: str | None = None) -> tuple[list[LayoutNode], list[tuple[str, str]]]:
    nodes = [LayoutNode(id=f"{parent or ''}n{i}", parent=parent) for i in range(n)]
    return nodes, [(a.id, b.id) for a, b in itertools.pairwise(nodes)]


def by_id(picture: Picture) -> dict[str, Box]:
    return {box.id: box for box in picture.boxes}


def overlap(a: Box, b: Box) -> bool:
    return a.x < b.x + b.w and b.x < a.x + a.w and a.y < b.y + b.h and b.y < a.y + a.h


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[LayoutNode], list[tuple[str, str]]]:
    n = draw(st.integers(1, 24))
    nodes = []
    for i in range(n):
        parent = draw(st.none() | st.integers(0, i - 1).map(lambda k: f"n{k}")) if i else None
        nodes.append(LayoutNode(id=f"n{i}", parent=parent))
    pairs = draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=30))
    return nodes, [(f"n{a}", f"n{b}") for a, b in pairs]


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_every_node_gets_one_box_inside_its_parent_and_apart_from_its_siblings(graph) -> None:
    nodes, edges = graph
    picture = lay_out(nodes, edges)
    boxes = by_id(picture)
    parents = {node.id: node.parent for node in nodes}
    assert sorted(boxes) == sorted(parents)
    assert len(picture.boxes) == len(nodes)
    for name, box in boxes.items():
        outer = boxes.get(parents[name] or "")
        if outer is None:
            assert box.x >= 0
            assert box.x + box.w <= picture.width + 1e-6
            assert box.y + box.h <= picture.height + 1e-6
        else:
            assert outer.is_frame
            assert box.x >= outer.x
            assert box.y > outer.y
            assert box.x + box.w <= outer.x + outer.w + 1e-6
            assert box.y + box.h <= outer.y + outer.h + 1e-6
        for other_name, other in boxes.items():
            if other_name != name and parents[other_name] == parents[name]:
                assert not overlap(box, other)


@given(graphs())
@settings(max_examples=30, deadline=None)
def test_equal_graphs_give_equal_pictures(graph) -> None:
    assert lay_out(*graph) == lay_out(*graph)


def test_a_successor_stands_right_of_its_predecessor() -> None:
    boxes = by_id(lay_out(*chain(4)))
    assert boxes["n0"].x < boxes["n1"].x < boxes["n2"].x < boxes["n3"].x
    assert boxes["n0"].y == boxes["n3"].y


def test_the_longest_path_decides_the_column() -> None:
    nodes = [LayoutNode(id=name, parent=None) for name in "abcd"]
    boxes = by_id(lay_out(nodes, [("a", "b"), ("b", "c"), ("a", "d"), ("c", "d")]))
    assert boxes["d"].x > boxes["c"].x > boxes["b"].x


def test_a_long_chain_wraps_into_bands() -> None:
    picture = lay_out(*chain(40))
    assert picture.width < 900
    assert len({box.y for box in picture.boxes}) > 3


def test_many_siblings_without_edges_form_a_grid() -> None:
    nodes = [LayoutNode(id=f"n{i}", parent=None) for i in range(40)]
    picture = lay_out(nodes, [])
    assert len({box.x for box in picture.boxes}) == 5
    assert [box.id for box in sorted(picture.boxes, key=lambda box: (box.y, box.x))] == [node.id for node in nodes]


def test_an_empty_graph_is_an_empty_picture() -> None:
    assert lay_out([], []) == Picture(boxes=(), width=0.0, height=0.0)


def test_a_cycle_is_drawn_all_the_same() -> None:
    nodes, edges = chain(3)
    assert len(lay_out(nodes, [*edges, ("n2", "n0")]).boxes) == 3
