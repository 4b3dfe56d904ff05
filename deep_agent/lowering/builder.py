"""Owns building the nodes of one row loop: equal nodes are made once, spaces follow from operands."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from deep_agent.lowering.expression import Access, Kind, Node, NodeId, Space, Unsupported, joined
from deep_agent.lowering.layout import Atom, Atoms, Layout
from deep_agent.lowering.size import ONE, Size, Window, product
from deep_agent.problem.dtype import DType

_COMPARISONS = frozenset({"eq", "ne", "lt", "le", "gt", "ge", "not", "and", "or", "is_nan"})
_TAKES_BOOL = frozenset({"where", "not", "and", "or"})
_VECTOR_TYPES = frozenset({DType.FLOAT32, DType.FLOAT16, DType.BFLOAT16, DType.INT8, DType.BOOL})
_ROW_TYPES = _VECTOR_TYPES | {DType.INT64, DType.INT32}


class Builder:
    """Collects the nodes of one row loop."""

    def __init__(self, atoms: Atoms, row_atoms: Sequence[Atom], columns: frozenset[Atom], n_column_atoms: int) -> None:
        """Start without nodes.

        Args:
            atoms: the finished analysis of dimensions.
            row_atoms: what makes up the row index, outermost first.
            columns: kin of the atoms that are columns.
            n_column_atoms: atoms a tensor with columns has there.
        """
        self.atoms = atoms
        self.row_atoms = tuple(row_atoms)
        self.nodes: list[Node] = []
        self.memo: dict[tuple[int, str, str], NodeId] = {}
        self._columns = columns
        self._n_column_atoms = n_column_atoms
        self._known: dict[Node, NodeId] = {}

    def is_column(self, atom: Atom) -> bool:
        """Whether a dimension made of this atom runs along the columns."""
        return self.atoms.kin(atom) in self._columns

    def column_width(self, layout: Layout) -> Size | None:
        """Give the number of columns of a tensor, or None where it has none."""
        columns = [atom for dim in layout for atom in dim if self.is_column(atom)]
        return product(tuple(self.atoms.size(atom) for atom in columns)) if columns else None

    def access(self, tensor: str, layout: Layout, dtype: DType, window: Window) -> Access:
        """Say where a tensor's elements lie.

        Raises:
            Unsupported: the columns are not the innermost, contiguous dimensions, or the type has no arithmetic here.
        """
        flat = [self.atoms.find(atom) for dim in layout for atom in dim]
        columns = [atom for atom in flat if self.is_column(atom)]
        rows = [atom for atom in flat if not self.is_column(atom)]
        if columns and (flat[-len(columns) :] != columns or len(columns) != self._n_column_atoms):
            raise Unsupported(f"{tensor!r} is read across its columns, not along them")
        if any(row not in self.row_atoms for row in rows):
            raise Unsupported(f"{tensor!r} has a dimension that is no row of the loop it is used in")
        allowed = _VECTOR_TYPES if columns else _ROW_TYPES
        if dtype not in allowed:
            raise Unsupported(f"{tensor!r} holds {dtype.value}, for which there is no vector arithmetic in float32")
        return Access(
            tensor=tensor,
            dtype=dtype,
            row_terms=tuple(self.row_atoms.index(row) for row in rows),
            row_width=product(tuple(self.atoms.size(atom) for atom in columns)) if columns else ONE,
            window=window if columns else None,
        )

    def load(self, access: Access) -> NodeId:
        """Read a tensor."""
        kind = {DType.BOOL: Kind.BOOL, DType.INT64: Kind.INT, DType.INT32: Kind.INT}.get(access.dtype, Kind.FLOAT)
        width = access.window.width if access.window else None
        return self._intern(Node("load", (), access.space, kind, width=width, access=access))

    def constant(self, value: float) -> NodeId:
        """Make a literal."""
        kind = Kind.BOOL if isinstance(value, bool) else Kind.FLOAT
        return self._intern(Node("constant", (), Space.SCALAR, kind, constant=value))

    def size(self, size: Size) -> NodeId:
        """Make a number of elements, as a float."""
        return self._intern(Node("size", (), Space.SCALAR, Kind.FLOAT, size=size))

    def scalar_input(self, name: str) -> NodeId:
        """Make one of the definition's Python scalars."""
        return self._intern(Node("scalar_input", (), Space.SCALAR, Kind.FLOAT, name=name))

    def column_index(self, window: Window) -> NodeId:
        """Make the number of the column."""
        return self._intern(Node("column_index", (), Space.COLUMN, Kind.FLOAT, width=window.width, size=window.offset))

    def row_index(self, atom: Atom) -> NodeId:
        """Make the index along one axis of the rows."""
        access = Access("", DType.INT64, (self.row_atoms.index(self.atoms.find(atom)),), ONE, None)
        return self._intern(Node("row_index", (), Space.ROW, Kind.INT, access=access))

    def op(self, op: str, *args: NodeId) -> NodeId:
        """Apply a pointwise operation.

        Raises:
            Unsupported: it would need a second sweep over the rows.
        """
        if op not in _TAKES_BOOL:
            args = tuple(self._as_number(arg) for arg in args)
        operands = [self.nodes[arg] for arg in args]
        space = joined(tuple(node.space for node in operands))
        late = any(node.late for node in operands)
        if late and space.has_rows:
            raise Unsupported("a sum over the rows is used in every row again, which takes a second sweep over them")
        width = next((node.width for node in operands if node.space.has_columns), None)
        return self._intern(Node(op, args, space, self._kind(op, operands), late=late, width=width))

    def _as_number(self, arg: NodeId) -> NodeId:
        if self.nodes[arg].kind is not Kind.BOOL:
            return arg
        return self.op("where", arg, self.constant(1.0), self.constant(0.0))

    def _kind(self, op: str, operands: Sequence[Node]) -> Kind:
        if op in _COMPARISONS:
            return Kind.BOOL
        if op in {"add", "sub", "mul"} and all(node.kind is Kind.INT for node in operands):
            return Kind.INT
        if op == "where":
            return operands[1].kind
        return Kind.FLOAT

    def row_reduction(self, op: str, arg: NodeId, width: Size, *, first: Size | None = None) -> NodeId:
        """Reduce along the columns; `first` is the column number of the window's first element, for positions."""
        kind = Kind.INT if op in {"row_argmax", "row_argmin"} else Kind.FLOAT
        if self.nodes[arg].late:
            raise Unsupported("a sum over the rows is reduced along the columns, which takes a second sweep")
        return self._intern(Node(op, (arg,), Space.ROW, kind, width=width, size=first))

    def over_rows(self, arg: NodeId) -> NodeId:
        """Sum over all rows of the loop."""
        node = self.nodes[arg]
        op = "column_sum" if node.space.has_columns else "total_sum"
        space = Space.COLUMN if node.space.has_columns else Space.SCALAR
        return self._intern(Node(op, (arg,), space, Kind.FLOAT, late=True, width=node.width))

    def rounded(self, node: NodeId, dtype: DType) -> NodeId:
        """Round to what the type can hold, as PyTorch does after every operation of that type."""
        if dtype not in {DType.BFLOAT16, DType.FLOAT16} or self.nodes[node].kind is not Kind.FLOAT:
            return node
        made = self.nodes[node]
        op = f"round_{dtype.value}"
        if made.op == op or (made.access is not None and made.access.dtype is dtype):
            return node
        return self.op(op, node)

    def pick(self, load: NodeId, index: NodeId) -> NodeId:
        """Read the one element of a loaded run of columns that an integer of the row names."""
        node = self.nodes[load]
        return self._intern(replace(node, op="pick", args=(index,), space=Space.ROW, width=None))

    def _intern(self, node: Node) -> NodeId:
        if node not in self._known:
            self._known[node] = len(self.nodes)
            self.nodes.append(node)
        return self._known[node]


Make = Callable[[Builder, Window], NodeId]
Breaks = Callable[[Builder], tuple[Window, ...] | None]


@dataclass(eq=False)
class Picture:
    """What is known about one tensor of the graph: its dimensions, and how to make its elements."""

    layout: Layout
    dtype: DType
    make: Make
    """Gives the node for a run of the tensor's columns; the window does not matter where it has none."""
    breaks: Breaks
    """Runs of columns that are made in one way each; None where it has no columns."""
    parents: tuple["Picture", ...] = field(default=())
    renew: Callable[[], "Picture"] | None = None
    """Where set, makes the tensor anew with dimensions of its own; for tensors made of nothing, such as ranges, which
    may stand for rows in one place and for columns in another."""

    def at(self, builder: Builder, window: Window) -> NodeId:
        """Give the node, made once."""
        key = (id(self), window.offset.text, window.width.text)
        if key not in builder.memo:
            builder.memo[key] = self.make(builder, window)
        return builder.memo[key]


def refined(builder: Builder, pictures: Sequence[Picture]) -> tuple[Window, ...] | None:
    """Give the runs of columns that lie within one run of every picture."""
    found = [breaks for picture in pictures if (breaks := picture.breaks(builder)) is not None]
    if not found:
        return None
    edges = {window.offset.value: window.offset for breaks in found for window in breaks}
    edges.update({window.end.value: window.end for breaks in found for window in breaks})
    ordered = [edges[value] for value in sorted(edges)]
    if len(ordered) == 1:
        return (Window(ordered[0], ordered[0] - ordered[0]),)
    if all(len(breaks) == 1 for breaks in found):
        return found[0]
    return tuple(Window(low, _gap(low, high, found)) for low, high in pairwise(ordered))


def _gap(low: Size, high: Size, found: Sequence[tuple[Window, ...]]) -> Size:
    """Give the width between two edges, in the spelling of a window where one fits."""
    for window in (window for breaks in found for window in breaks):
        if window.offset.value == low.value and window.end.value == high.value:
            return window.width
    return high - low
