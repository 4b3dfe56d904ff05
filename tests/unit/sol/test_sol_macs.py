"""Multiply-adds: hand-derived counts by operand type."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sol_builders import concrete_graph, make_device, tallied

from deep_agent.problem.dtype import DType
from deep_agent.sol.contractions import visible_pairs
from deep_agent.sol.counting import count
from deep_agent.sol.roofline import bound

QKV = {"q": "b h n d", "k": "b h m d", "v": "b h m d"}
SIZES = {"b": 2, "h": 3, "n": 8, "m": 8, "d": 4}
CASES = {
    # By name: reference, inputs, outputs, axes, multiply-adds.
    "a matrix product": ("def run(x, w): return x @ w", {"x": "n k", "w": "k m"}, {"y": "n m"}, {"n": 3, "k": 5, "m": 7}, 105),
    "a batch of products": (
        "def run(x, w): return x @ w", {"x": "b n k", "w": "b k m"}, {"y": "b n m"}, {"b": 2, "n": 3, "k": 5, "m": 7}, 210,
    ),
    "a broadcast batch": (
        "def run(x, w): return x @ w", {"x": "b n k", "w": "k m"}, {"y": "b n m"}, {"b": 2, "n": 3, "k": 5, "m": 7}, 210,
    ),
    "a linear layer with bias": (
        "def run(x, w, c): return F.linear(x, w, c)",
        {"x": "b n k", "w": "m k", "c": "m"}, {"y": "b n m"}, {"b": 2, "n": 3, "k": 5, "m": 7}, 210,
    ),
    "an einsum": (
        "def run(x, w): return torch.einsum('bnk,hkm->bhnm', x, w)",
        {"x": "b n k", "w": "h k m"}, {"y": "b h n m"}, {"b": 2, "n": 3, "k": 5, "h": 2, "m": 7}, 420,
    ),
    "a matrix and a vector": ("def run(x, w): return x @ w", {"x": "n k", "w": "k"}, {"y": "n"}, {"n": 3, "k": 5}, 15),
    "a dense convolution": (
        "def run(x, w): return F.conv2d(x, w)",
        {"x": "b c s s", "w": "o c 3 3"}, {"y": "b o 4 4"}, {"b": 2, "c": 3, "s": 6, "o": 5}, 2 * 5 * 16 * 3 * 9,
    ),
    "a depthwise convolution is not dense": (
        "def run(x, w): return F.conv1d(x, w, groups=x.shape[1])",
        {"x": "b c s", "w": "c 1 4"}, {"y": "b c 7"}, {"b": 2, "c": 8, "s": 10}, 2 * 8 * 7 * 4,
    ),
    "a transposed convolution": (
        "def run(x, w): return F.conv_transpose1d(x, w, stride=2)",
        {"x": "b c s", "w": "c o 4"}, {"y": "b o 22"}, {"b": 2, "c": 3, "o": 5, "s": 10}, 2 * 3 * 10 * 5 * 4,
    ),
    "both gradients of a convolution": (
        """
        def run(g, x, w):
            gx, gw, _ = torch.ops.aten.convolution_backward(
                g, x, w, None, [1], [0], [1], False, [0], 1, [True, True, False])
            return gx, gw
        """,
        {"g": "b o 8", "x": "b c s", "w": "o c 3"}, {"gx": "b c s", "gw": "o c 3"}, {"b": 2, "c": 3, "o": 5, "s": 10},
        2 * (2 * 5 * 8 * 3 * 3),
    ),
    "one gradient of a convolution": (
        """
        def run(g, x, w):
            return torch.ops.aten.convolution_backward(
                g, x, w, None, [1], [0], [1], False, [0], 1, [True, True, False])[1]
        """,
        {"g": "b o 8", "x": "b c s", "w": "o c 3"}, {"gw": "o c 3"}, {"b": 2, "c": 3, "o": 5, "s": 10}, 2 * 5 * 8 * 3 * 3,
    ),
    "attention": (
        "def run(q, k, v): return F.scaled_dot_product_attention(q, k, v)", QKV, {"y": "b h n d"}, SIZES, 6 * 64 * 8,
    ),
    "causal attention": (
        "def run(q, k, v): return F.scaled_dot_product_attention(q, k, v, is_causal=True)",
        QKV, {"y": "b h n d"}, SIZES, 6 * 36 * 8,
    ),
    "causal attention with more keys than queries": (
        "def run(q, k, v): return F.scaled_dot_product_attention(q, k, v, is_causal=True)",
        QKV, {"y": "b h n d"}, SIZES | {"n": 5}, 6 * 15 * 8,
    ),
    "causal attention with fewer keys than queries": (
        "def run(q, k, v): return F.scaled_dot_product_attention(q, k, v, is_causal=True)",
        QKV, {"y": "b h n d"}, SIZES | {"m": 5}, 6 * (15 + 3 * 5) * 8,
    ),
    "causal attention written out": (
        """
        def run(q, k, v):
            n = q.shape[2]
            scores = (q @ k.transpose(-1, -2)) / math.sqrt(4)
            hidden = torch.triu(torch.ones(n, n, dtype=torch.bool), diagonal=1)
            return torch.softmax(scores.masked_fill(hidden, float("-inf")), -1) @ v
        """,
        QKV, {"y": "b h n d"}, SIZES, 6 * 36 * 8,
    ),
    "causal attention with an added mask, aligned at the last key": (
        """
        def run(q, k, v):
            n, m = q.shape[2], k.shape[2]
            mask = torch.full((n, m), float("-inf")).triu(m - n + 1)
            return torch.softmax(q @ k.transpose(-1, -2) + mask, -1) @ v
        """,
        QKV, {"y": "b h n d"}, SIZES | {"n": 5}, 6 * (4 + 5 + 6 + 7 + 8) * 8,
    ),
    "windowed attention by positions": (
        """
        def run(q, k, v):
            n = q.shape[2]
            i, j = torch.arange(n)[:, None], torch.arange(n)[None, :]
            seen = (j <= i) & (i - j < 3)
            scores = torch.where(seen, q @ k.transpose(-1, -2), float("-inf"))
            return torch.softmax(scores, -1) @ v
        """,
        QKV, {"y": "b h n d"}, SIZES, 6 * (1 + 2 + 6 * 3) * 8,
    ),
    "a mask that is an input proves nothing": (
        """
        def run(q, k, v, mask):
            return torch.softmax((q @ k.transpose(-1, -2)).masked_fill(mask, float("-inf")), -1) @ v
        """,
        QKV | {"mask": "n m:bool"}, {"y": "b h n d"}, SIZES, 6 * 64 * 8,
    ),
    "a product whose result is thrown away": (
        "def run(x):\n    x @ x\n    return x + 1", {"x": "n n"}, {"y": "n n"}, {"n": 4}, 0,
    ),
    "the logits of the last token alone": (
        "def run(x, w): return (x @ w)[:, -1]",
        {"x": "b n k", "w": "k m"}, {"y": "b m"}, {"b": 2, "n": 6, "k": 5, "m": 7}, 70,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_multiply_adds(name):
    reference, inputs, outputs, axes, expected = CASES[name]
    work = tallied(reference, inputs, outputs, axes).work
    assert sum(work.macs.values()) == pytest.approx(expected)
    assert set(work.macs) <= {DType.FLOAT32}


def test_five_products_make_the_backward_of_causal_attention():
    reference = """
    def run(q, k, v, g):
        q, k, v = (t.detach().requires_grad_() for t in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return torch.autograd.grad(y, (q, k, v), g)
    """
    outputs = {"gq": "b h n d", "gk": "b h m d", "gv": "b h m d"}
    work = tallied(reference, QKV | {"g": "b h n d"}, outputs, SIZES).work
    assert work.macs == {DType.FLOAT32: 6 * 36 * 4 * 5}


@pytest.mark.parametrize(
    ("reference", "kind", "bucket"),
    [
        ("def run(x, w): return x @ w", "bfloat16", DType.BFLOAT16),
        ("def run(x, w): return (x.float() @ w.float()).to(torch.bfloat16)", "bfloat16", DType.BFLOAT16),
        ("def run(x, w): return ((x + 1e-6).double() @ w.double()).to(x.dtype)", "float32", DType.FLOAT32),
        ("def run(x, w): return x @ w", "float64", DType.FLOAT64),
    ],
)
def test_the_operands_of_a_product_choose_its_rate_not_the_widest_number_around(reference, kind, bucket):
    found = tallied(reference, {"x": f"n k:{kind}", "w": f"k n:{kind}"}, {"y": f"n n:{kind}"}, {"n": 4, "k": 8})
    assert found.work.macs == {bucket: 128}


def test_elementwise_work_is_reported_and_never_in_the_bound():
    work = tallied("def run(x): return torch.exp(x) + x", {"x": "n"}, {"y": "n"}, {"n": 10}).work
    assert (work.other_flop, work.special_flop, work.macs) == (10, 10, {})


@given(st.integers(1, 12), st.integers(1, 12))
def test_causal_pairs_are_those_of_a_lower_triangle(n_queries, n_keys):
    expected = sum(1 for query in range(n_queries) for key in range(n_keys) if key <= query)
    assert visible_pairs(n_queries, n_keys, causal=True) == expected


REFERENCES = [
    ("def run(x, w): return F.silu(x @ w)", {"x": "n k", "w": "k m"}, {"y": "n m"}),
    ("def run(x, w): return torch.softmax(x, -1)[:, :2] * w[0, 0]", {"x": "n k", "w": "k m"}, {"y": "n 2"}),
]


@given(st.sampled_from(REFERENCES), st.tuples(*[st.integers(2, 9)] * 3), st.integers(0, 2))
@settings(max_examples=12, deadline=None)
def test_a_larger_axis_never_lowers_the_bound(case, sizes, grown):
    larger = list(sizes)
    larger[grown] += 3
    times = []
    for chosen in (sizes, larger):
        graph = concrete_graph(*case, dict(zip("nkm", chosen, strict=True)))
        times.append(bound(count(graph), make_device(), workload="w", tier=1).time_us)
    assert times[1] >= times[0]


FP8 = {"x": "n k:float8_e4m3fn", "w": "m k:float8_e4m3fn"}
PRICED_SIZES = {"n": 256, "k": 256, "m": 256, "g": 2}
PRICED = {
    # By name: expression, further inputs, the type whose rate prices the product.
    "scales of blocks, repeated": ("(x.float() * s.repeat_interleave(128, 1)) @ w.float().T", {"s": "n g"}, "float8_e4m3fn"),
    "scales of blocks, expanded": (
        "(x.float() * s[..., None].expand(-1, -1, 128).reshape(256, 256)) @ w.float().T", {"s": "n g"}, "float8_e4m3fn",
    ),
    "scales of blocks, by view": (
        "(x.float().view(256, 2, 128) * s[..., None]).view(256, 256) @ w.float().T", {"s": "n g"}, "float8_e4m3fn",
    ),
    "a scale for every element": ("(x.float() * s) @ w.float().T", {"s": "n k"}, "float32"),
    "truths": ("(s > 0).float() @ w.float().T", {"s": "n k"}, "float8_e4m3fn"),
}  # fmt: skip


@pytest.mark.parametrize(("expression", "more", "dtype"), PRICED.values(), ids=PRICED)
def test_a_product_is_priced_by_the_numbers_its_operands_are_made_of(expression, more, dtype):
    reference = f"def run(x, w, s): return {expression} + 0 * x[:1, :1].float()"
    macs = count(concrete_graph(reference, FP8 | more, {"y": "n m"}, PRICED_SIZES)).macs
    assert macs == {DType(dtype): 256.0**3}
