"""Owns the row program: what a kernel computes for each row, as nodes over rows and columns.

Every tensor is seen as `rows x columns`. A node lives in one space: it varies with row and column, with one of
them, or with neither. Nodes stand in an order in which operands come first. Does not decide how it is computed.
"""

from dataclasses import dataclass
from enum import StrEnum

from deep_agent.lowering.size import Size, Window
from deep_agent.problem.dtype import DType

NodeId = int


class Space(StrEnum):
    """What a node varies with."""

    SCALAR = "scalar"
    ROW = "row"
    COLUMN = "column"
    FULL = "full"

    @property
    def has_columns(self) -> bool:
        """Whether it varies with the column."""
        return self in {Space.COLUMN, Space.FULL}

    @property
    def has_rows(self) -> bool:
        """Whether it varies with the row."""
        return self in {Space.ROW, Space.FULL}


def joined(spaces: tuple[Space, ...]) -> Space:
    """Give the space of a pointwise result."""
    rows = any(space.has_rows for space in spaces)
    columns = any(space.has_columns for space in spaces)
    return {(False, False): Space.SCALAR, (True, False): Space.ROW, (False, True): Space.COLUMN}.get(
        (rows, columns), Space.FULL
    )


class Kind(StrEnum):
    """What a node holds: all arithmetic is in float32; integers occur as row indices only."""

    FLOAT = "float"
    INT = "int"
    BOOL = "bool"


@dataclass(frozen=True)
class Access:
    """Where an element of a tensor lies, as a function of row and column."""

    tensor: str
    dtype: DType
    row_terms: tuple[int, ...]
    """Positions in `RowLoop.rows` of the row axes this tensor has, in its own order."""
    row_width: Size
    """Elements from one row of the tensor to the next; one where it has no columns."""
    window: Window | None
    """Columns that are read or written; None where the tensor has no columns."""

    @property
    def space(self) -> Space:
        """What the element varies with."""
        if self.window is not None:
            return Space.FULL if self.row_terms else Space.COLUMN
        return Space.ROW if self.row_terms else Space.SCALAR


@dataclass(frozen=True)
class Node:
    """One step of the computation."""

    op: str
    """`load`, `constant`, `scalar_input`, `size`, `column_index`, a pointwise operation, a reduction along the
    columns (`row_sum`, `row_max`, `row_min`, `row_argmax`, `row_argmin`, `pick`) or over the rows (`column_sum`,
    `total_sum`)."""
    args: tuple[NodeId, ...]
    space: Space
    kind: Kind
    late: bool = False
    """Whether it is known only after the last row."""
    width: Size | None = None
    """Columns it has (full and column space), or columns a row reduction runs over."""
    access: Access | None = None
    """What a `load` or `pick` reads."""
    constant: float | int | bool | None = None
    size: Size | None = None
    """What a `size` node is; the first column of a `column_index`; rows a `row_index` counts modulo."""
    name: str = ""
    """Name of a scalar input."""

    @property
    def is_row_reduction(self) -> bool:
        """Whether it takes a pass over the columns."""
        return self.op in ROW_REDUCTIONS

    @property
    def is_over_rows(self) -> bool:
        """Whether it accumulates from row to row."""
        return self.op in OVER_ROWS


ROW_REDUCTIONS = frozenset({"row_sum", "row_max", "row_max_quiet", "row_min", "row_argmax", "row_argmin"})
OVER_ROWS = frozenset({"column_sum", "total_sum"})
SPECIAL = frozenset({"exp", "exp_falling", "log", "sigmoid", "tanh", "erf", "sin", "cos", "pow"})
"""Operations that cost several times a multiply-add."""


@dataclass(frozen=True)
class Store:
    """One output, or a run of its columns."""

    node: NodeId
    access: Access


@dataclass(frozen=True)
class RowLoop:
    """What is computed while going over one set of rows."""

    rows: tuple[Size, ...]
    """The axes that make up the row index, outermost first; their product is the number of rows."""
    nodes: tuple[Node, ...]
    """Operands come before what uses them."""
    stores: tuple[Store, ...]

    def node(self, node_id: NodeId) -> Node:
        """Look up a node."""
        return self.nodes[node_id]


@dataclass(frozen=True)
class RowProgram:
    """A recognised graph before it has a schedule: one or more loops over rows, run one after another."""

    definition: str
    sizes: dict[str, int]
    """Every axis at the traced binding."""
    symbolic: bool
    """Whether the program holds at every binding, or at the traced one only."""
    loops: tuple[RowLoop, ...]


@dataclass(frozen=True)
class CannotLower:
    """Why a graph is no row program."""

    reason: str
    """One sentence that names the operation."""


class Unsupported(Exception):
    """Ends a recognition; its message is the reason of the `CannotLower` that `recognise` returns."""
