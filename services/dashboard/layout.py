"""Owns where the nodes of a task graph stand in the picture; pure, knows neither states nor colours.

Each level is layered by itself: the longest path gives the column, the barycentre of the predecessors the
order within it. A composite is drawn as a frame around its own level, so children are placed first. Two
rules keep long levels legible: a tall column of leaves becomes a grid, and columns wrap into bands.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from deep_agent.problem.value import FrozenValue

CELL_W, CELL_H = 132.0, 46.0
SMALL_W, SMALL_H = 104.0, 40.0
GAP_X, GAP_Y = 32.0, 14.0
SMALL_GAP_X = 16.0
PADDING, HEADER_H = 14.0, 30.0
CROWDED = 6
"""A level with more children than this draws its atomic ones small."""
GRID_COLUMNS = 5
"""Childless siblings in one column, if more than this, stand in a grid of so many columns, row by row."""
BAND_W = 600.0
"""Columns of one level wrap beyond this width."""
DEEPEST = 300
"""Levels drawn; a deeper graph shows its frames empty rather than exhaust the stack."""


class LayoutNode(FrozenValue):
    """A node as the layout sees it."""

    id: str
    parent: str | None
    """The composite whose level it stands in; None for the root."""


class Box(FrozenValue):
    """Where a node stands, in picture units from the top left corner."""

    id: str
    x: float
    y: float
    w: float
    h: float
    is_frame: bool
    """Whether the box is drawn around children."""
    depth: int


class Picture(FrozenValue):
    """A whole layout; frames precede what they contain."""

    boxes: tuple[Box, ...]
    width: float
    height: float


_Size = tuple[float, float]
_Spot = tuple[str, float, float]


def lay_out(nodes: Sequence[LayoutNode], edges: Sequence[tuple[str, str]]) -> Picture:
    """Place every node; equal arguments give equal pictures.

    Args:
        nodes: in the order they were added; parents may follow their children.
        edges: (source, target) pairs between siblings; others are ignored, as are cycles' back edges.
    """
    known = {node.id for node in nodes}
    children: dict[str | None, list[str]] = defaultdict(list)
    for node in nodes:
        children[node.parent if node.parent in known else None].append(node.id)
    followers: dict[str, list[str]] = defaultdict(list)
    for source, target in edges:
        followers[source].append(target)
    planner = _Levels(children, followers)
    width, height = planner.measure(None, depth=0)
    boxes: list[Box] = []
    planner.place(None, at=(0.0, 0.0), depth=0, into=boxes)
    return Picture(boxes=tuple(boxes), width=width, height=height)


class _Levels:
    """The levels of one graph, measured from the leaves up and placed from the root down."""

    def __init__(self, children: Mapping[str | None, list[str]], followers: Mapping[str, list[str]]) -> None:
        self._children = children
        self._followers = followers
        self._sizes: dict[str, _Size] = {}
        self._spots: dict[str | None, list[_Spot]] = {}

    def measure(self, owner: str | None, *, depth: int) -> _Size:
        """Arrange the level of `owner` and give its size without frame."""
        level = self._children.get(owner, [])
        crowded = len(level) > CROWDED
        for node in level:
            if depth < DEEPEST and self._children.get(node):
                inner_w, inner_h = self.measure(node, depth=depth + 1)
                self._sizes[node] = (max(inner_w, SMALL_W) + 2 * PADDING, inner_h + HEADER_H + PADDING)
            else:
                self._sizes[node] = (SMALL_W, SMALL_H) if crowded else (CELL_W, CELL_H)
        columns = [part for column in _columns(level, self._followers) for part in self._gridded(column)]
        spots, size = _bands(columns, self._sizes, gap_x=SMALL_GAP_X if crowded else GAP_X)
        self._spots[owner] = spots
        return size

    def place(self, owner: str | None, *, at: _Size, depth: int, into: list[Box]) -> None:
        """Append the boxes of the level of `owner`, whose top left corner is `at`."""
        for node, x, y in self._spots.get(owner, []):
            w, h = self._sizes[node]
            left, top = at[0] + x, at[1] + y
            is_frame = node in self._spots
            into.append(Box(id=node, x=left, y=top, w=w, h=h, is_frame=is_frame, depth=depth))
            if is_frame:
                self.place(node, at=(left + PADDING, top + HEADER_H), depth=depth + 1, into=into)

    def _gridded(self, column: Sequence[str]) -> list[Sequence[str]]:
        if len(column) <= GRID_COLUMNS or any(self._children.get(node) for node in column):
            return [column]
        return [column[start::GRID_COLUMNS] for start in range(GRID_COLUMNS)]


def _columns(level: Sequence[str], followers: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Layer siblings by the longest path from a source, then order each column by its predecessors."""
    members = set(level)
    before: dict[str, list[str]] = {node: [] for node in level}
    for node in level:
        for target in followers.get(node, ()):
            if target in members:
                before[target].append(node)
    rank: dict[str, int] = {}
    for node in _topological(level, followers, before):
        rank[node] = max((rank[source] + 1 for source in before[node] if source in rank), default=0)
    columns: list[list[str]] = [[] for _ in range(max(rank.values(), default=-1) + 1)]
    for node in level:
        columns[rank[node]].append(node)
    row: dict[str, float] = {}
    for column in columns:
        column.sort(key=lambda node: _barycentre([row[source] for source in before[node] if source in row]))
        row.update({node: float(index) for index, node in enumerate(column)})
    return columns


def _topological(
    level: Sequence[str], followers: Mapping[str, Sequence[str]], before: Mapping[str, Sequence[str]]
) -> list[str]:
    """Order siblings so that predecessors come first; what is left of a cycle follows in the given order."""
    waiting = {node: len(before[node]) for node in level}
    order = [node for node in level if waiting[node] == 0]
    for node in order:  # grows while it is walked
        for target in followers.get(node, ()):
            if target in waiting:
                waiting[target] -= 1
                if waiting[target] == 0:
                    order.append(target)
    placed = set(order)
    return order + [node for node in level if node not in placed]


def _barycentre(rows: Sequence[float]) -> float:
    return sum(rows) / len(rows) if rows else -1.0


def _bands(columns: Sequence[Sequence[str]], sizes: Mapping[str, _Size], *, gap_x: float) -> tuple[list[_Spot], _Size]:
    """Stand columns side by side, wrapping into bands below one another."""
    spots: list[_Spot] = []
    x = top = band_h = width = 0.0
    for column in columns:
        column_w = max(sizes[node][0] for node in column)
        column_h = sum(sizes[node][1] for node in column) + GAP_Y * (len(column) - 1)
        if x > 0 and x + column_w > BAND_W and len(columns) > CROWDED:
            x, top, band_h = 0.0, top + band_h + GAP_Y, 0.0
        y = top
        for node in column:
            spots.append((node, x, y))
            y += sizes[node][1] + GAP_Y
        width, band_h = max(width, x + column_w), max(band_h, column_h)
        x += column_w + gap_x
    return spots, (width, top + band_h)
