"""Owns the drawing of a task graph: layout plus labels as what the SVG template draws; pure."""

from deep_agent.htdag.job import EdgeView, GraphView, NodeView
from deep_agent.problem.value import FrozenValue
from services.dashboard.layout import SMALL_W, Box, LayoutNode, lay_out
from services.dashboard.words import elide, tone, word
from services.views import problem_name

MARGIN = 10.0
CHARACTER_W = 6.9
"""Width of one character of a label at 12 px, on the wide side."""


class Shape(FrozenValue):
    """One node as drawn."""

    box: Box
    node: NodeView
    tone: str
    word: str
    label: str
    """Elided to the width of the box."""


class Drawing(FrozenValue):
    """Everything the template needs; frames precede their content."""

    width: float
    height: float
    shapes: tuple[Shape, ...]
    arrows: tuple[str, ...]
    """SVG path of each edge."""


class Line(FrozenValue):
    """One node in the table that says the same as the picture."""

    node: NodeView
    label: str
    depth: int
    """1 for the root's own level."""
    tone: str
    word: str
    has_children: bool


def label_of(node: NodeView) -> str:
    """Name a node for people: its problem, its title, or its name without the zeros that make names sort."""
    if node.handler == "optimize":
        return problem_name(str(node.params.get("problem", node.name)))
    if node.title and node.title != node.name:
        return node.title
    stem, _, number = node.name.rpartition("-")
    return f"{stem} {int(number)}" if stem and number.isdecimal() else node.name


def draw(graph: GraphView) -> Drawing:
    """Lay out and label a graph; the whole of it, whatever its size."""
    nodes = {str(node.id): node for node in graph.nodes}
    picture = lay_out(
        [LayoutNode(id=node.id, parent=node.owner) for node in graph.nodes],
        [(edge.src, edge.dst) for edge in graph.edges],
    )
    boxes = {box.id: box for box in picture.boxes}
    shown = _telling(
        {(str(edge.src), str(edge.dst)) for edge in graph.edges if edge.src in boxes and edge.dst in boxes}
    )
    return Drawing(
        width=picture.width + 2 * MARGIN,
        height=picture.height + 2 * MARGIN,
        shapes=tuple(_shape(box, nodes[box.id]) for box in picture.boxes),
        arrows=tuple(_arrow(edge, boxes) for edge in graph.edges if (edge.src, edge.dst) in shown),
    )


def _telling(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Leave out edges that a longer path implies: they would run across the nodes of that path."""
    followers: dict[str, set[str]] = {}
    for source, target in edges:
        followers.setdefault(source, set()).add(target)
    kept = set()
    for source, targets in followers.items():
        # With one follower there is no longer path, and most nodes of a big graph have one.
        beyond = _reached(followers, targets) if len(targets) > 1 else set()
        kept |= {(source, target) for target in targets if target not in beyond}
    return kept


def _reached(followers: dict[str, set[str]], starts: set[str]) -> set[str]:
    """Give everything that follows the starts, themselves only where they follow one another."""
    found: set[str] = set()
    waiting = [target for start in starts for target in followers.get(start, ())]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting.extend(followers.get(node, ()))
    return found


def _shape(box: Box, node: NodeView) -> Shape:
    words = word(node.state)
    taken = len(words) + 3 if box.is_frame else 0
    fits = int((box.w - (24 if box.w > SMALL_W else 16)) / CHARACTER_W) - taken
    return Shape(box=box, node=node, tone=tone(node.state), word=words, label=elide(label_of(node), max(fits, 4)))


def _arrow(edge: EdgeView, boxes: dict[str, Box]) -> str:
    """Draw an edge: a curve to the right, or around the corner into the band below."""
    source, target = boxes[edge.src], boxes[edge.dst]
    x1, y1 = source.x + source.w, source.y + source.h / 2
    x2, y2 = target.x, target.y + target.h / 2
    if x2 > x1:
        bend = (x2 - x1) / 2
        return f"M{x1:.1f},{y1:.1f} C{x1 + bend:.1f},{y1:.1f} {x2 - bend:.1f},{y2:.1f} {x2 - 3:.1f},{y2:.1f}"
    # The next band starts at the left: leave below the source, run between the bands, enter from above.
    x1, y1 = source.x + source.w / 2, source.y + source.h
    x2, y2 = target.x + target.w / 2, target.y
    between = (y1 + y2) / 2
    return f"M{x1:.1f},{y1:.1f} V{between:.1f} H{x2:.1f} V{y2 - 3:.1f}"


def outline(graph: GraphView) -> tuple[Line, ...]:
    """List the nodes in reading order, children below their parent."""
    known = {str(node.id) for node in graph.nodes}
    children: dict[str | None, list[NodeView]] = {}
    for node in graph.nodes:
        children.setdefault(node.owner if node.owner in known else None, []).append(node)
    lines: list[Line] = []
    waiting = [(node, 1) for node in reversed(children.get(None, []))]
    while waiting:
        node, depth = waiting.pop()
        below = children.get(node.id, [])
        lines.append(
            Line(
                node=node,
                label=label_of(node),
                depth=depth,
                tone=tone(node.state),
                word=word(node.state),
                has_children=bool(below),
            )
        )
        waiting.extend((child, depth + 1) for child in reversed(below))
    return tuple(lines)
