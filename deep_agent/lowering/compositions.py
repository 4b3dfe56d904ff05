"""Owns the ATen operations that are several row-wise steps at once: softmaxes, norms, losses and their backward forms."""

from collections.abc import Sequence

from deep_agent.lowering.analysis import Analysis, Handler
from deep_agent.lowering.builder import Builder, Make, Picture
from deep_agent.lowering.expression import NodeId, Space, Unsupported
from deep_agent.lowering.graphview import Call
from deep_agent.lowering.reductions import Reducer, centred_square, mean_of, reduced
from deep_agent.lowering.size import Window


def _softmax(analysis: Analysis, call: Call) -> Sequence[Picture]:
    source = analysis.picture(call.tensor(0))
    reducer = Reducer(analysis, source, [call.integer(1, "dim", -1) % len(source.layout)])

    def make(b: Builder, window: Window) -> NodeId:
        # The quiet maximum may miss a NaN: the sum of exponentials carries it to the whole row anyway.
        top = reducer.reduce(b, "row_max_quiet")

        def power(node: NodeId, _window: Window) -> NodeId:
            return b.op("exp_falling", b.op("sub", node, top))

        total = reducer.reduce(b, "row_sum", each=power)
        x = source.at(b, window)
        if call.base == "_log_softmax":
            return b.op("sub", b.op("sub", x, top), b.op("log", total))
        return b.op("mul", power(x, window), b.op("reciprocal", total))

    return [analysis.pointwise(call.operation.outputs[0], [source], make)]


def _softmax_backward(analysis: Analysis, call: Call) -> Sequence[Picture]:
    """grad_input = y * (dy - sum(dy * y)); for the logarithm dy - exp(y) * sum(dy)."""
    dy, y = analysis.picture(call.tensor(0)), analysis.picture(call.tensor(1))
    both = analysis.pointwise(call.operation.outputs[0], [dy, y], dy.at)
    reducer = Reducer(analysis, both, [call.integer(2, "dim", -1) % len(dy.layout)])
    is_log = call.base.startswith("_log")

    def make(b: Builder, window: Window) -> NodeId:
        g, out = dy.at(b, window), y.at(b, window)
        if is_log:
            return b.op(
                "sub", g, b.op("mul", b.op("exp", out), reducer.reduce(b, "row_sum", each=lambda _n, w: dy.at(b, w)))
            )
        along = reducer.reduce(b, "row_sum", each=lambda _n, w: b.op("mul", dy.at(b, w), y.at(b, w)))
        return b.op("mul", out, b.op("sub", g, along))

    return [analysis.pointwise(call.operation.outputs[0], [dy, y], make)]


def _optional(analysis: Analysis, call: Call, position: int, name: str) -> Picture | None:
    value_id = call.tensor(position, name)
    return None if value_id is None else analysis.picture(value_id)


def _layer_norm(analysis: Analysis, call: Call) -> Sequence[Picture]:
    source = analysis.picture(call.tensor(0))
    weight, bias = _optional(analysis, call, 2, "weight"), _optional(analysis, call, 3, "bias")
    rank = len(source.layout)
    shape = call.arg(1, "normalized_shape")
    n_dims = len(shape.items) if shape is not None and shape.kind == "list" else 1
    reducer = Reducer(analysis, source, range(rank - n_dims, rank))
    eps = float(call.literal(4, "eps", 1e-5) or 0.0)

    def rstd(b: Builder, _window: Window) -> NodeId:
        variance = mean_of(b, reducer, centred_square(b, mean_of(b, reducer)))
        return b.op("rsqrt", b.op("add", variance, b.constant(eps)))

    def make(b: Builder, window: Window) -> NodeId:
        y = b.op("mul", b.op("sub", source.at(b, window), mean_of(b, reducer)), rstd(b, window))
        y = b.op("mul", y, weight.at(b, window)) if weight else y
        return b.op("add", y, bias.at(b, window)) if bias else y

    outputs = call.operation.outputs
    operands = [picture for picture in (source, weight, bias) if picture is not None]
    return [
        analysis.pointwise(outputs[0], operands, make),
        reduced(analysis, outputs[1], reducer, keep=True, make=lambda b, _window: mean_of(b, reducer)),
        reduced(analysis, outputs[2], reducer, keep=True, make=rstd),
    ]


def _layer_norm_backward(analysis: Analysis, call: Call) -> Sequence[Picture]:
    """Dx = rstd * (g - mean(g) - unit * mean(g * unit)), g = dy * weight, unit = (x - mean) * rstd."""
    dy, x = analysis.picture(call.tensor(0)), analysis.picture(call.tensor(1))
    mean, rstd = analysis.picture(call.tensor(3)), analysis.picture(call.tensor(4))
    weight = _optional(analysis, call, 5, "weight")
    rank = len(x.layout)
    shape = call.arg(2, "normalized_shape")
    n_dims = len(shape.items) if shape is not None and shape.kind == "list" else 1
    operands = [picture for picture in (dy, x, mean, rstd, weight) if picture is not None]
    both = analysis.pointwise(call.operation.outputs[0], operands, dy.at)
    along, down = Reducer(analysis, both, range(rank - n_dims, rank)), Reducer(analysis, both, range(rank - n_dims))

    def unit(b: Builder, window: Window) -> NodeId:
        return b.op("mul", b.op("sub", x.at(b, window), mean.at(b, window)), rstd.at(b, window))

    def through(b: Builder, window: Window) -> NodeId:
        return b.op("mul", dy.at(b, window), weight.at(b, window)) if weight else dy.at(b, window)

    def dx(b: Builder, window: Window) -> NodeId:
        plain = mean_of(b, along, lambda _n, w: through(b, w))
        bent = mean_of(b, along, lambda _n, w: b.op("mul", through(b, w), unit(b, w)))
        inner = b.op("sub", b.op("sub", through(b, window), plain), b.op("mul", unit(b, window), bent))
        return b.op("mul", rstd.at(b, window), inner)

    def summed(value_id: int, each: Make) -> Picture:
        return reduced(
            analysis,
            value_id,
            down,
            keep=False,
            make=lambda b, window: down.reduce(b, "row_sum", window, lambda _n, w: each(b, w)),
        )

    outputs = call.operation.outputs
    return [
        analysis.pointwise(outputs[0], operands, dx),
        summed(outputs[1], lambda b, w: b.op("mul", dy.at(b, w), unit(b, w))),
        summed(outputs[2], dy.at),
    ]


def _rms_norm(analysis: Analysis, call: Call) -> Sequence[Picture]:
    source, weight = analysis.picture(call.tensor(0)), _optional(analysis, call, 2, "weight")
    rank = len(source.layout)
    shape = call.arg(1, "normalized_shape")
    n_dims = len(shape.items) if shape is not None and shape.kind == "list" else 1
    reducer = Reducer(analysis, source, range(rank - n_dims, rank))
    # PyTorch's own default is the machine epsilon of the input's type.
    eps = float(call.literal(3, "eps", None) or 1.1920928955078125e-07)

    def rstd(b: Builder, _window: Window) -> NodeId:
        square = mean_of(b, reducer, lambda node, _w: b.op("mul", node, node))
        return b.op("rsqrt", b.op("add", square, b.constant(eps)))

    def make(b: Builder, window: Window) -> NodeId:
        y = b.op("mul", source.at(b, window), rstd(b, window))
        return b.op("mul", y, weight.at(b, window)) if weight else y

    outputs = call.operation.outputs
    operands = [picture for picture in (source, weight) if picture is not None]
    made = [analysis.pointwise(outputs[0], operands, make)]
    return [*made, reduced(analysis, outputs[1], reducer, keep=True, make=rstd)] if len(outputs) > 1 else made


def picked(b: Builder, node_id: NodeId, index: NodeId) -> NodeId:
    """Make the element that stands in a column chosen by a row's integer, without making the others."""
    node = b.nodes[node_id]
    if not node.space.has_columns:
        return node_id
    if node.op == "load":
        return b.pick(node_id, index)
    if node.op == "column_index":
        return b.op("mul", index, b.constant(1.0))
    if node.late:
        raise Unsupported("one column of a sum over the rows is looked up")
    return b.op(node.op, *(picked(b, arg, index) for arg in node.args))


def _whole_pick(b: Builder, source: Picture, index: NodeId) -> NodeId:
    windows = source.breaks(b)
    if windows is None or len(windows) != 1 or b.nodes[index].space not in {Space.ROW, Space.SCALAR}:
        raise Unsupported("elements can only be looked up one a row, in an unjoined tensor")
    return picked(b, source.at(b, windows[0]), index)


def _gather(analysis: Analysis, call: Call) -> Sequence[Picture]:
    source, index = analysis.picture(call.tensor(0)), analysis.picture(call.tensor(2, "index"))
    dim = call.integer(1, "dim", -1) % len(source.layout)
    if index.layout[dim]:
        raise Unsupported("more than one element of a row is looked up")
    reducer = Reducer(analysis, source, [dim])
    rest = [
        analysis.atoms.unify(mine, theirs) for mine, theirs in zip(reducer.layout(keep=True), index.layout, strict=True)
    ]

    def make(b: Builder, window: Window) -> NodeId:
        return _whole_pick(b, source, index.at(b, window))

    return [Picture(tuple(rest), analysis.dtype(call.operation.outputs[0]), make, lambda _b: None, (source, index))]


def _nll_loss(analysis: Analysis, call: Call) -> Sequence[Picture | None]:
    """-x[row, target], 0 where the target is the ignored one; the mean counts the others only."""
    source, target = analysis.picture(call.tensor(0)), analysis.picture(call.tensor(1))
    if call.tensor(2, "weight") is not None:
        raise Unsupported("class weights are not known here")
    reduction, ignored = call.integer(3, "reduction", 1), float(call.integer(4, "ignore_index", -100))
    reducer = Reducer(analysis, source, [len(source.layout) - 1])
    layout = tuple(
        analysis.atoms.unify(mine, theirs)
        for mine, theirs in zip(reducer.layout(keep=False), target.layout, strict=True)
    )

    def counts(b: Builder, window: Window) -> NodeId:
        return b.op("ne", target.at(b, window), b.constant(ignored))

    def each(b: Builder, window: Window) -> NodeId:
        value = b.op("neg", _whole_pick(b, source, target.at(b, window)))
        return b.op("where", counts(b, window), value, b.constant(0.0))

    losses = Picture(layout, source.dtype, each, lambda _b: None, (source, target))
    if reduction == 0:
        return [losses, None]
    over = Reducer(analysis, losses, range(len(layout)))

    def number(b: Builder, window: Window) -> NodeId:
        return over.reduce(
            b, "row_sum", window, lambda _n, w: b.op("where", counts(b, w), b.constant(1.0), b.constant(0.0))
        )

    def loss(b: Builder, window: Window) -> NodeId:
        total = over.reduce(b, "row_sum", window)
        return b.op("div", total, number(b, window)) if reduction == 1 else total

    outputs = call.operation.outputs
    return [
        reduced(analysis, out, over, keep=False, make=make) for out, make in zip(outputs, (loss, number), strict=False)
    ]


COMPOSITIONS: dict[str, Handler] = {
    **dict.fromkeys(("_softmax", "_log_softmax"), _softmax),
    **dict.fromkeys(("_softmax_backward_data", "_log_softmax_backward_data"), _softmax_backward),
    "native_layer_norm": _layer_norm,
    "native_layer_norm_backward": _layer_norm_backward,
    "_fused_rms_norm": _rms_norm,
    "gather": _gather,
    "nll_loss_forward": _nll_loss,
}
"""ATen base name -> handler."""
