"""Owns the formulas of ATen's pointwise operations, in terms of the nodes' few; each is PyTorch's documented formula."""

from collections.abc import Callable, Mapping, Sequence
from math import pi, sqrt

from deep_agent.lowering.builder import Builder
from deep_agent.lowering.expression import Kind, NodeId, Unsupported

Options = Mapping[str, object]
Formula = Callable[[Builder, Sequence[NodeId | None], Options], NodeId]
"""Builder, operands in order (None where absent), other keywords -> result."""


def _given(nodes: Sequence[NodeId | None], index: int) -> NodeId:
    node = nodes[index]
    assert node is not None
    return node


def _direct(op: str) -> Formula:
    return lambda b, nodes, _options: b.op(op, *(node for node in nodes if node is not None))


def _scaled_second(op: str) -> Formula:
    def formula(b: Builder, nodes: Sequence[NodeId | None], options: Options) -> NodeId:
        left, right = _given(nodes, 0), _given(nodes, 1)
        alpha = options.get("alpha", nodes[2] if len(nodes) > 2 else None)
        if alpha is not None and alpha != 1:
            right = b.op("mul", right, _number(b, alpha))
        return b.op(op, left, right)

    return formula


def _number(b: Builder, value: object) -> NodeId:
    if isinstance(value, (int, float)):
        return b.constant(float(value))
    raise Unsupported(f"a factor of {value!r} is no number")


def _rsub(b: Builder, nodes: Sequence[NodeId | None], options: Options) -> NodeId:
    return _scaled_second("sub")(b, [nodes[1], nodes[0], *nodes[2:]], options)


def _div(b: Builder, nodes: Sequence[NodeId | None], options: Options) -> NodeId:
    quotient = b.op("div", _given(nodes, 0), _given(nodes, 1))
    mode = options.get("rounding_mode")
    return b.op(str(mode), quotient) if mode in {"floor", "trunc"} else quotient


def _pow(b: Builder, nodes: Sequence[NodeId | None], _options: Options) -> NodeId:
    base, exponent = _given(nodes, 0), _given(nodes, 1)
    fixed = b.nodes[exponent].constant
    whole = {1: lambda: base, 2: lambda: b.op("mul", base, base), 3: lambda: b.op("mul", b.op("mul", base, base), base)}
    if fixed in whole:
        return whole[int(fixed)]()
    named = {0.5: "sqrt", -0.5: "rsqrt", -1: "reciprocal"}
    if fixed in named:
        return b.op(named[float(fixed)], base)
    return b.op("pow", base, exponent)


def _silu(b: Builder, nodes: Sequence[NodeId | None], _options: Options) -> NodeId:
    x = _given(nodes, 0)
    return b.op("div", x, b.op("add", b.constant(1.0), b.op("exp", b.op("neg", x))))


def _silu_backward(b: Builder, nodes: Sequence[NodeId | None], _options: Options) -> NodeId:
    """Dy * s * (1 + x * (1 - s)) with s the sigmoid."""
    dy, x = _given(nodes, 0), _given(nodes, 1)
    s, one = b.op("sigmoid", x), b.constant(1.0)
    return b.op("mul", b.op("mul", dy, s), b.op("add", one, b.op("mul", x, b.op("sub", one, s))))


def _gelu(b: Builder, nodes: Sequence[NodeId | None], options: Options) -> NodeId:
    x = _given(nodes, 0)
    if _is_tanh(options):
        # x / 2 * (1 + tanh(u)) equals x / (1 + exp(-2u)), which takes one exponential and no second division.
        power = b.op("exp", b.op("mul", b.constant(-2.0), _gelu_tanh_inner(b, x)))
        return b.op("div", x, b.op("add", b.constant(1.0), power))
    half = b.op("mul", b.constant(0.5), x)
    return b.op("mul", half, b.op("add", b.constant(1.0), b.op("erf", b.op("mul", x, b.constant(sqrt(0.5))))))


def _is_tanh(options: Options) -> bool:
    return options.get("approximate", "none") == "tanh"


def _gelu_tanh_inner(b: Builder, x: NodeId) -> NodeId:
    cubic = b.op("mul", b.constant(0.044715), b.op("mul", x, x))
    return b.op("mul", b.op("mul", b.constant(sqrt(2 / pi)), x), b.op("add", b.constant(1.0), cubic))


def _gelu_backward(b: Builder, nodes: Sequence[NodeId | None], options: Options) -> NodeId:
    dy, x, one, half = _given(nodes, 0), _given(nodes, 1), b.constant(1.0), b.constant(0.5)
    if _is_tanh(options):
        t = b.op("tanh", _gelu_tanh_inner(b, x))
        slope = b.op(
            "add", b.constant(sqrt(2 / pi)), b.op("mul", b.constant(3 * 0.044715 * sqrt(2 / pi)), b.op("mul", x, x))
        )
        bend = b.op("mul", b.op("mul", half, x), b.op("mul", b.op("sub", one, b.op("mul", t, t)), slope))
        return b.op("mul", dy, b.op("add", b.op("mul", half, b.op("add", one, t)), bend))
    cumulative = b.op("mul", half, b.op("add", one, b.op("erf", b.op("mul", x, b.constant(sqrt(0.5))))))
    density = b.op("mul", b.constant(1 / sqrt(2 * pi)), b.op("exp", b.op("mul", b.constant(-0.5), b.op("mul", x, x))))
    return b.op("mul", dy, b.op("add", cumulative, b.op("mul", x, density)))


def _sigmoid_backward(b: Builder, nodes: Sequence[NodeId | None], _options: Options) -> NodeId:
    dy, y = _given(nodes, 0), _given(nodes, 1)
    return b.op("mul", dy, b.op("mul", b.op("sub", b.constant(1.0), y), y))


def _tanh_backward(b: Builder, nodes: Sequence[NodeId | None], _options: Options) -> NodeId:
    dy, y = _given(nodes, 0), _given(nodes, 1)
    return b.op("mul", dy, b.op("sub", b.constant(1.0), b.op("mul", y, y)))


def _threshold_backward(b: Builder, nodes: Sequence[NodeId | None], _options: Options) -> NodeId:
    dy, x, threshold = _given(nodes, 0), _given(nodes, 1), _given(nodes, 2)
    return b.op("where", b.op("le", x, threshold), b.constant(0.0), dy)


def _clamp(b: Builder, nodes: Sequence[NodeId | None], options: Options) -> NodeId:
    x = _given(nodes, 0)
    for position, name, op in ((1, "min", "maximum"), (2, "max", "minimum")):
        bound = nodes[position] if position < len(nodes) else None
        if options.get(name) is not None:
            bound = _number(b, options[name])
        if bound is not None:
            x = b.op(op, x, bound)
    return x


def _clamp_max(b: Builder, nodes: Sequence[NodeId | None], _options: Options) -> NodeId:
    return b.op("minimum", _given(nodes, 0), _given(nodes, 1))


def _clamp_min(b: Builder, nodes: Sequence[NodeId | None], _options: Options) -> NodeId:
    return b.op("maximum", _given(nodes, 0), _given(nodes, 1))


def _relu(b: Builder, nodes: Sequence[NodeId | None], _options: Options) -> NodeId:
    return b.op("maximum", _given(nodes, 0), b.constant(0.0))


def _leaky_relu(b: Builder, nodes: Sequence[NodeId | None], _options: Options) -> NodeId:
    x = _given(nodes, 0)
    slope = _given(nodes, 1) if len(nodes) > 1 else b.constant(0.01)
    return b.op("where", b.op("gt", x, b.constant(0.0)), x, b.op("mul", x, slope))


def _masked_fill(b: Builder, nodes: Sequence[NodeId | None], _options: Options) -> NodeId:
    return b.op("where", _given(nodes, 1), _given(nodes, 2), _given(nodes, 0))


def _addcmul(b: Builder, nodes: Sequence[NodeId | None], options: Options) -> NodeId:
    product = b.op("mul", _given(nodes, 1), _given(nodes, 2))
    factor = options.get("value", 1)
    return b.op("add", _given(nodes, 0), product if factor == 1 else b.op("mul", product, _number(b, factor)))


def _is_bool(b: Builder, node: NodeId) -> bool:
    return b.nodes[node].kind is Kind.BOOL


def _bitwise(op: str) -> Formula:
    def formula(b: Builder, nodes: Sequence[NodeId | None], _options: Options) -> NodeId:
        given = [node for node in nodes if node is not None]
        if not all(_is_bool(b, node) for node in given):
            raise Unsupported("a bitwise operation on numbers has no float32 form")
        return b.op(op, *given)

    return formula


FORMULAS: dict[str, Formula] = {
    **{name: _direct(name) for name in (
        "neg", "abs", "exp", "log", "sqrt", "rsqrt", "reciprocal", "sigmoid", "tanh", "erf", "sin", "cos", "mul",
        "maximum", "minimum", "eq", "ne", "lt", "le", "gt", "ge", "where", "floor", "ceil", "round", "trunc",
    )},
    "add": _scaled_second("add"),
    "sub": _scaled_second("sub"),
    "rsub": _rsub,
    "div": _div,
    "pow": _pow,
    "silu": _silu,
    "silu_backward": _silu_backward,
    "gelu": _gelu,
    "gelu_backward": _gelu_backward,
    "sigmoid_backward": _sigmoid_backward,
    "tanh_backward": _tanh_backward,
    "threshold_backward": _threshold_backward,
    "clamp": _clamp,
    "hardtanh": _clamp,
    "clamp_min": _clamp_min,
    "clamp_max": _clamp_max,
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "masked_fill": _masked_fill,
    "addcmul": _addcmul,
    "isnan": _direct("is_nan"),
    "logical_not": _bitwise("not"),
    "logical_and": _bitwise("and"),
    "logical_or": _bitwise("or"),
    "bitwise_not": _bitwise("not"),
    "bitwise_and": _bitwise("and"),
    "bitwise_or": _bitwise("or"),
}  # fmt: skip
"""ATen base name -> formula."""
