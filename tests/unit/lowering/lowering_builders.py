"""Operation graphs written by hand, so that these tests need no tracer and no torch."""

from collections.abc import Sequence

from deep_agent.problem.definition import Definition
from deep_agent.problem.dtype import DType
from deep_agent.problem.opgraph import Arg, ListArg, LiteralArg, Operation, OpGraph, SizeArg, TensorArg, TensorValue

SIZES = {"rows": 6, "cols": 40, "half": 20, "heads": 4, "dim": 10}


class GraphBuilder:
    """Adds values and operations in order; sizes are those of `SIZES`."""

    def __init__(self) -> None:
        self._values: list[TensorValue] = []
        self._operations: list[Operation] = []
        self._inputs: dict[str, int] = {}

    def value(self, dims: str, dtype: DType = DType.FLOAT32) -> int:
        tokens = tuple(dims.split())
        shape = tuple(int(token) if token.isdecimal() else SIZES[token] for token in tokens)
        self._values.append(TensorValue(id=len(self._values), shape=shape, dims=tokens, dtype=dtype))
        return len(self._values) - 1

    def input(self, name: str, dims: str, dtype: DType = DType.FLOAT32) -> int:
        self._inputs[name] = self.value(dims, dtype)
        return self._inputs[name]

    def call(self, name: str, *args: Arg, out: str, dtype: DType = DType.FLOAT32, **kwargs: Arg) -> int:
        result = self.value(out, dtype)
        self._operations.append(Operation(name=f"aten.{name}", args=args, kwargs=kwargs, outputs=(result,)))
        return result

    def calls(self, name: str, *args: Arg, outs: Sequence[str]) -> tuple[int, ...]:
        results = tuple(self.value(out) for out in outs)
        self._operations.append(Operation(name=f"aten.{name}", args=args, outputs=results))
        return results

    def graph(self, *, symbolic: bool = True, **outputs: int) -> OpGraph:
        return OpGraph(
            definition="op", sizes=SIZES, values=tuple(self._values), inputs=self._inputs, outputs=outputs,
            operations=tuple(self._operations), symbolic=symbolic,
        )  # fmt: skip


def t(value_id: int) -> TensorArg:
    return TensorArg(id=value_id)


def lit(value: bool | float | str | None) -> LiteralArg:
    return LiteralArg(value=value)


def ints(*values: int) -> ListArg:
    return ListArg(items=tuple(lit(value) for value in values))


def size(name: str) -> SizeArg:
    return SizeArg(expression=name, value=SIZES[name])


def softmax_graph(*, symbolic: bool = True) -> OpGraph:
    b = GraphBuilder()
    x = b.input("x", "rows cols")
    return b.graph(y=b.call("_softmax.default", t(x), lit(-1), lit(value=False), out="rows cols"), symbolic=symbolic)


def rmsnorm_graph(dtype: DType = DType.FLOAT32) -> OpGraph:
    b = GraphBuilder()
    x, w = b.input("x", "rows cols", dtype), b.input("w", "cols", dtype)
    wide = b.call("_to_copy.default", t(x), out="rows cols")
    square = b.call("pow.Tensor_Scalar", t(wide), lit(2), out="rows cols")
    mean = b.call("mean.dim", t(square), ints(-1), lit(value=True), out="rows 1")
    root = b.call("rsqrt.default", t(mean), out="rows 1")
    scaled = b.call("mul.Tensor", t(wide), t(root), out="rows cols")
    weighted = b.call("mul.Tensor", t(scaled), t(w), out="rows cols")
    return b.graph(y=b.call("_to_copy.default", t(weighted), out="rows cols", dtype=dtype))


def weight_gradient_graph() -> OpGraph:
    b = GraphBuilder()
    dy, x = b.input("dy", "rows cols"), b.input("x", "rows cols")
    product = b.call("mul.Tensor", t(dy), t(x), out="rows cols")
    return b.graph(dw=b.call("sum.dim_IntList", t(product), ints(0), out="cols"))


def definition(graph: OpGraph, **axes: object) -> Definition:
    """The definition a graph would come from, with a reference that is never run."""

    def specs(names: dict[str, int]) -> dict[str, object]:
        return {name: {"shape": graph.value(v).dims, "dtype": graph.value(v).dtype} for name, v in names.items()}

    declared = axes or {name: {"type": "var"} for name in ("rows", "cols")}
    return Definition.model_validate({
        "name": graph.definition, "axes": declared, "inputs": specs(graph.inputs), "outputs": specs(graph.outputs),
        "reference": f"def run({', '.join(graph.inputs)}): ...",
    })  # fmt: skip
