"""Tracing: graphs hold at bindings they were not traced at, and failures name what failed."""

import time

import pytest
from sol_builders import concrete_graph, make_problem

from deep_agent.errors import InvalidInput
from deep_agent.problem.axes import evaluate_expression
from deep_agent.problem.opgraph import ListArg, LiteralArg, OpGraph, ScalarInputArg, SizeArg
from deep_agent.sol.tracing import ReferenceTracer, _says_yes, trace_reference

REFERENCES = {
    "rmsnorm": (
        "def run(x, w): return (x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-6)).to(x.dtype) * w",
        {"x": "n k:bfloat16", "w": "k:bfloat16"}, {"y": "n k:bfloat16"}, {"n": 4, "k": 8},
    ),
    "softmax": ("def run(x): return torch.softmax(x, dim=-1)", {"x": "b n k"}, {"y": "b n k"}, {"b": 2, "n": 4, "k": 8}),
    "swiglu": (
        """
        def run(x):
            gate, up = x.chunk(2, dim=-1)
            return F.silu(gate) * up
        """,
        {"x": "n k"}, {"y": "n half"}, {"n": 4, "k": 8}, {"half": "k // 2"},
    ),
    "layernorm backward": (
        """
        def run(g, x, w):
            mean = x.mean(-1, keepdim=True)
            rstd = torch.rsqrt(x.var(-1, unbiased=False, keepdim=True) + 1e-5)
            h = (x - mean) * rstd
            gh = g * w
            k = x.shape[-1]
            gx = (gh - gh.sum(-1, keepdim=True) / k - h * (gh * h).sum(-1, keepdim=True) / k) * rstd
            return gx, (g * h).sum(0)
        """,
        {"g": "n k", "x": "n k", "w": "k"}, {"gx": "n k", "gw": "k"}, {"n": 4, "k": 8},
    ),
    "attention with grouped heads": (
        """
        def run(q, k, v):
            n = q.shape[2]
            k, v = (t.repeat_interleave(4, dim=1) for t in (k, v))
            scores = q @ k.transpose(-1, -2) * 0.25
            mask = torch.ones(n, n, dtype=torch.bool).tril()
            return torch.softmax(scores.masked_fill(~mask, float("-inf")), -1) @ v
        """,
        {"q": "b heads n d", "k": "b kv n d", "v": "b kv n d"}, {"y": "b heads n d"}, {"b": 2, "kv": 2, "n": 8, "d": 4},
        {"heads": "4 * kv"},
    ),
    "gemm": (
        "def run(x, w, c): return F.gelu(F.linear(x, w, c))",
        {"x": "b n k", "w": "m k", "c": "m"}, {"y": "b n m"}, {"b": 2, "n": 4, "k": 8, "m": 6},
    ),
    "in-place halves": (
        """
        def run(x):
            y = torch.empty_like(x)
            half = x.shape[-1] // 2
            y[..., :half] = -x[..., half:]
            y[..., half:] = x[..., :half]
            return y
        """,
        {"x": "n k"}, {"y": "n k"}, {"n": 4, "k": 8},
    ),
    "blocks of 32": (
        """
        def run(x):
            n, k = x.shape
            blocks = x.view(n, k // 32, 32)
            return (blocks / blocks.abs().amax(-1, keepdim=True).clamp(min=1e-8)).view(n, k)
        """,
        {"x": "n k"}, {"y": "n k"}, {"n": 4, "k": 64},
    ),
}  # fmt: skip


def _problem(name, *, more=()):
    reference, inputs, outputs, axes, *exprs = REFERENCES[name]
    return make_problem(reference, inputs, outputs, axes, exprs=exprs[0] if exprs else None, more=more)


def _numbers(arg, sizes):
    """The operand as plain values at a binding."""
    if isinstance(arg, ListArg):
        return [_numbers(item, sizes) for item in arg.items]
    if isinstance(arg, SizeArg):
        return evaluate_expression(arg.expression, sizes)
    return arg.value if isinstance(arg, LiteralArg) else arg


def _meaning(graph: OpGraph, sizes):
    shapes = [[evaluate_expression(dim, sizes) for dim in value.dims] for value in graph.values]
    calls = [
        (
            op.name,
            [_numbers(arg, sizes) for arg in op.args],
            {key: _numbers(arg, sizes) for key, arg in op.kwargs.items()},
        )
        for op in graph.operations
    ]
    return shapes, calls, graph.inputs, graph.outputs


@pytest.mark.parametrize("name", REFERENCES)
def test_a_symbolic_graph_says_what_a_fresh_trace_says(name):
    problem = _problem(name)
    graph = trace_reference(problem, problem.workloads[0])
    assert graph.symbolic
    for factor in (3, 7):
        axes = {axis: size * factor for axis, size in problem.workloads[0].axes.items()}
        fresh = trace_reference(problem, problem.workloads[0].model_copy(update={"axes": axes}))
        assert _meaning(graph, fresh.sizes) == _meaning(fresh, fresh.sizes)


def test_a_graph_survives_json():
    graph = concrete_graph(*REFERENCES["attention with grouped heads"][:4], exprs={"heads": "4 * kv"})
    text = graph.model_dump_json()
    assert "Infinity" not in text
    assert OpGraph.model_validate_json(text) == graph
    assert any(arg == LiteralArg(value=float("-inf")) for op in graph.operations for arg in op.args)


def test_a_scalar_input_is_found_where_it_goes():
    problem = make_problem(
        "def run(x, eps, causal): return torch.rsqrt(x + eps) if causal else x",
        {"x": "n", "eps": "scalar:float32", "causal": "scalar:bool"}, {"y": "n"}, {"n": 4},
        scalars={"eps": 1e-5, "causal": True},
    )  # fmt: skip
    graph = trace_reference(problem, problem.workloads[0])
    assert graph.symbolic
    assert graph.operations[0].args[1] == ScalarInputArg(name="eps")


def test_a_number_made_of_sizes_that_no_axis_expression_gives_makes_the_graph_concrete():
    problem = make_problem("def run(x): return x * (1.0 / math.sqrt(x.shape[0]))", {"x": "n"}, {"y": "n"}, {"n": 4})
    graph = trace_reference(problem, problem.workloads[0])
    assert not graph.symbolic
    assert graph.operations[0].args[1] == LiteralArg(value=0.5)


def test_a_reference_that_branches_on_a_size_is_concrete_when_a_workload_takes_the_other_branch():
    reference = "def run(x): return x + 1 if x.shape[0] > 1000 else x * 2"
    alone = make_problem(reference, {"x": "n"}, {"y": "n"}, {"n": 4})
    both = make_problem(reference, {"x": "n"}, {"y": "n"}, {"n": 4}, more=[{"n": 2000}])
    assert trace_reference(alone, alone.workloads[0]).symbolic
    assert not trace_reference(both, both.workloads[0]).symbolic


def test_dead_work_is_not_in_the_graph():
    graph = concrete_graph("def run(x):\n    torch.exp(x).sum()\n    return x + 1", {"x": "n"}, {"y": "n"}, {"n": 4})
    assert [operation.name for operation in graph.operations] == ["aten.add.Tensor"]


def test_small_constants_keep_their_values():
    graph = concrete_graph(
        "TABLE = torch.tensor([1.0, 2.0])\ndef run(x): return x * TABLE", {"x": "n 2"}, {"y": "n 2"}, {"n": 4}
    )
    constant = graph.operations[0]
    assert constant.name == "deep_agent.constant.default"
    assert [item.value for item in constant.args[1].items] == [1.0, 2.0]


def test_a_reference_that_looks_at_values_is_counted_but_has_no_graph():
    problem = make_problem("def run(x): return x * x.abs().max().item()", {"x": "n"}, {"y": "n"}, {"n": 64})
    with ReferenceTracer(problem) as tracer:
        traced = tracer.trace(problem.workloads[0])
        assert traced.tier == 2
        assert traced.concrete_graph("probe") is not None
        assert tracer.graph(problem.workloads[0], traced) is None
    with pytest.raises(InvalidInput, match="cannot be written as a graph"):
        trace_reference(problem, problem.workloads[0])


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("def run(x):\n    raise KeyError('no such thing')", "KeyError: 'no such thing'"),
        ("def run(x): return x.view(3, 5)", "RuntimeError"),
        ("def run(x): return x, x", "2 results, but 1 outputs"),
        ("def run(x): return 'text'", "returned a str"),
        ("def run(x): return x[:2]", r"shape \[2\], but \[4\] is declared"),
        ("import nothing_of_this_name\ndef run(x): return x", "ModuleNotFoundError"),
    ],
)
def test_a_broken_reference_is_refused_with_its_own_words(reference, said):
    problem = make_problem(reference, {"x": "n"}, {"y": "n"}, {"n": 4})
    with pytest.raises(InvalidInput, match=said) as caught:
        trace_reference(problem, problem.workloads[0])
    assert "probe" in str(caught.value)


def test_a_shape_beyond_any_memory_is_refused_before_anything_runs():
    problem = make_problem("def run(x): return x", {"x": "n n n"}, {"y": "n n n"}, {"n": 2**30})
    with pytest.raises(InvalidInput, match=r"workload 'w0': the shape of 'x'.*overflows"):
        trace_reference(problem, problem.workloads[0])


def test_nan_is_refused_only_when_no_draw_of_inputs_avoids_it():
    good = make_problem("def run(x): return x.sqrt()", {"x": "n"}, {"y": "n"}, {"n": 64})
    bad = make_problem("def run(x): return (x - x) / (x - x)", {"x": "n"}, {"y": "n"}, {"n": 64})
    with ReferenceTracer(good) as tracer:
        tracer.refuse_nan(good.workloads)
    with ReferenceTracer(bad) as tracer, pytest.raises(InvalidInput, match="workload 'w0': the reference returns NaN"):
        tracer.refuse_nan(bad.workloads)


@pytest.mark.parametrize(
    ("question", "answer"),
    [(lambda: True, True), (lambda: False, False), (lambda: 1 / 0, False), (lambda: time.sleep(60), False)],
    ids=["yes", "no", "raises", "takes too long"],
)
def test_a_question_that_may_take_long_is_asked_apart(question, answer):
    started_s = time.monotonic()
    assert _says_yes(question, within_s=2.0) is answer
    assert time.monotonic() - started_s < 20.0
