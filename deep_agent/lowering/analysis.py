"""Owns the walk over an operation graph that pictures every tensor; views and reductions have modules of their own."""

from collections.abc import Callable, Sequence
from itertools import zip_longest

from deep_agent.lowering.builder import Builder, Picture, refined
from deep_agent.lowering.expression import NodeId, Unsupported
from deep_agent.lowering.graphview import Call
from deep_agent.lowering.layout import Atoms, Dim, Layout, Splits
from deep_agent.lowering.pointwise import FORMULAS, Formula
from deep_agent.lowering.size import ZERO, Size, Window
from deep_agent.problem.dtype import DType
from deep_agent.problem.opgraph import Arg, LiteralArg, OpGraph, ScalarInputArg, SizeArg, TensorArg

Handler = Callable[["Analysis", Call], Sequence[Picture | None]]
"""Pictures the outputs of one call; None for an output nobody may use."""

_FLOATING_COPY = frozenset({DType.FLOAT32, DType.BFLOAT16, DType.FLOAT16})


class Reduction:
    """One reduction seen while walking: which atoms of which operand it takes away."""

    def __init__(self, operand: Layout, dims: Sequence[Dim]) -> None:
        """Keep the operand's layout and the reduced dimensions."""
        self.operand = operand
        self.dims = tuple(dims)


class Analysis:
    """Pictures of all tensors of a graph."""

    def __init__(self, graph: OpGraph, splits: Splits) -> None:
        """Picture the inputs."""
        self.graph = graph
        self.atoms = Atoms(splits)
        self.reductions: list[Reduction] = []
        self._pictures: dict[int, Picture | None] = {}
        self._n_fresh: dict[tuple[str, int, int], int] = {}
        for name, value_id in graph.inputs.items():
            self._pictures[value_id] = self._input(name, value_id)

    def run(self, handlers: dict[str, Handler]) -> None:
        """Walk all operations.

        Raises:
            StartOver: a dimension had to be split.
            Unsupported: an operation is none of rows; the message names it.
        """
        for index, operation in enumerate(self.graph.operations):
            call = Call(operation, index)
            handler = handlers.get(call.base)
            formula = FORMULAS.get(call.base)
            if handler is None and formula is None:
                raise Unsupported(f"{operation.name} is no row-wise operation this lowering knows")
            try:
                made = handler(self, call) if handler else [self._pointwise(call, formula)]
            except Unsupported as error:
                raise Unsupported(f"{operation.name}: {error}") from error
            for value_id, picture in zip(operation.outputs, made, strict=False):
                self._pictures[value_id] = picture

    def picture(self, value_id: int | None) -> Picture:
        """Give the picture of a tensor.

        Raises:
            Unsupported: the tensor is an output that is not made.
        """
        picture = self._pictures.get(value_id) if value_id is not None else None
        if picture is None:
            raise Unsupported("an operand is an output that this lowering does not make")
        return picture if picture.renew is None else picture.renew()

    def dims(self, value_id: int) -> tuple[Size, ...]:
        """Give the sizes of a tensor."""
        value = self.graph.value(value_id)
        return tuple(Size(text, number) for text, number in zip(value.dims, value.shape, strict=True))

    def dtype(self, value_id: int) -> DType:
        """Give the element type of a tensor."""
        return self.graph.value(value_id).dtype

    def fresh(self, call: Call, value_id: int, dim: int, size: Size) -> Dim:
        """Make a dimension of its own for an output of a call; made again, it is another one."""
        key = (call.base, value_id, dim)
        count = self._n_fresh[key] = self._n_fresh.get(key, 0) + 1
        return self.atoms.dimension((f"{call.base} {count}", value_id, dim), size)

    def broadcast(self, layouts: Sequence[Layout]) -> Layout:
        """Unify layouts from the innermost dimension on."""
        result: list[Dim] = []
        for dims in zip_longest(*(tuple(reversed(layout)) for layout in layouts), fillvalue=()):
            joined: Dim = ()
            for dim in dims:
                joined = self.atoms.unify(joined, dim)
            result.append(joined)
        return tuple(reversed(result))

    def pointwise(
        self, value_id: int, operands: Sequence[Picture], make: Callable[[Builder, Window], NodeId]
    ) -> Picture:
        """Picture the result of a pointwise operation, rounded to its type."""
        dtype = self.dtype(value_id)
        return Picture(
            layout=self.broadcast([operand.layout for operand in operands]),
            dtype=dtype,
            make=lambda b, window: b.rounded(make(b, window), dtype),
            breaks=lambda b: refined(b, operands),
            parents=tuple(operands),
        )

    def _pointwise(self, call: Call, formula: Formula | None) -> Picture:
        assert formula is not None
        args = call.operation.args
        operands = [self.picture(arg.id) for arg in args if isinstance(arg, TensorArg)]
        options = {name: arg.value for name, arg in call.operation.kwargs.items() if isinstance(arg, LiteralArg)}

        def make(b: Builder, window: Window) -> NodeId:
            return formula(b, [self.operand(b, arg, window) for arg in args], options)

        return self.pointwise(call.operation.outputs[0], operands, make)

    def operand(self, b: Builder, arg: Arg, window: Window) -> NodeId | None:
        """Make the node of one operand; None for None."""
        match arg:
            case TensorArg():
                return self.picture(arg.id).at(b, window)
            case SizeArg():
                return b.size(Size(arg.expression, arg.value))
            case ScalarInputArg():
                return b.scalar_input(arg.name)
            case LiteralArg(value=bool() | int() | float() as number):
                return b.constant(number if isinstance(number, bool) else float(number))
            case LiteralArg(value=None):
                return None
            case _:
                raise Unsupported("an operand is neither a tensor nor a number")

    def _input(self, name: str, value_id: int) -> Picture:
        layout = tuple(
            self.atoms.dimension(("input", value_id, dim), size) for dim, size in enumerate(self.dims(value_id))
        )
        dtype = self.dtype(value_id)
        return Picture(
            layout=layout,
            dtype=dtype,
            make=lambda b, window: b.load(b.access(name, layout, dtype, window)),
            breaks=lambda b: whole(b, layout),
        )


def whole(b: Builder, layout: Layout) -> tuple[Window, ...] | None:
    """Give all columns of a layout as one window; None where it has none."""
    width = b.column_width(layout)
    return (Window(ZERO, width),) if width is not None else None
