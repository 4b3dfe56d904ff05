"""Work derived by hand, the derivation in words beside each; among them the failure classes of published bounds."""

from dataclasses import dataclass

import pytest
from sol_builders import make_device, make_work, tallied

from deep_agent.problem.dtype import DType
from deep_agent.sol.roofline import bound


@dataclass(frozen=True)
class Case:
    because: str
    reference: str
    inputs: dict
    outputs: dict
    axes: dict
    read: int
    macs: dict


F, B, E4 = DType.FLOAT32, DType.BFLOAT16, DType.FLOAT8_E4M3FN
QKV = {"q": "b h n d", "k": "b h m d", "v": "b h m d"}
CASES = {
    # Rate chosen from the widest type.
    "a float32 epsilon": Case(
        "the norm runs in float32 for its epsilon, yet both factors come from bf16; 4*8*4 products",
        """
        def run(x, w):
            h = x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + torch.tensor(1e-6))
            return h @ w.float()
        """,
        {"x": "n k:bfloat16", "w": "k n:bfloat16"}, {"y": "n n"}, {"n": 4, "k": 8}, 2 * 64, {B: 128},
    ),
    "float8 operands with float32 scales": Case(
        "scales are applied to rows, the numbers multiplied are float8; 2 scale columns of 4 floats",
        "def run(x, w, sx, sw): return (x.float() * sx) @ (w.float() * sw).t()",
        {"x": "n k:float8_e4m3fn", "w": "n k:float8_e4m3fn", "sx": "n 1", "sw": "n 1"}, {"y": "n n"}, {"n": 4, "k": 8},
        2 * 32 + 2 * 16, {E4: 128},
    ),
    "weights of float8 beside bf16 activations": Case(
        "the wider of the two factors sets the rate",
        "def run(x, w, s): return x.float() @ (w.float() * s).t()",
        {"x": "n k:bfloat16", "w": "n k:float8_e4m3fn", "s": "n 1"}, {"y": "n n"}, {"n": 4, "k": 8},
        64 + 32 + 16, {B: 128},
    ),
    "probabilities kept in float32": Case(
        "both products of bf16 attention are bf16 products, though sums stay float32; 2*4*4*8",
        """
        def run(q, k, v):
            return (torch.softmax((q @ k.t()).float(), -1) @ v.float()).to(torch.bfloat16)
        """,
        {"q": "n d:bfloat16", "k": "n d:bfloat16", "v": "n d:bfloat16"}, {"y": "n d:bfloat16"}, {"n": 4, "d": 8},
        3 * 64, {B: 256},
    ),
    # Convolutions.
    "a depthwise convolution in two dimensions": Case(
        "each of 6 channels has one filter of 9: 6 * 4*4 outputs * 9",
        "def run(x, w): return F.conv2d(x, w, groups=6)",
        {"x": "1 6 6 6", "w": "6 1 3 3"}, {"y": "1 6 4 4"}, {"unused": 1}, 4 * (216 + 54), {F: 6 * 16 * 9},
    ),
    "a grouped convolution": Case(
        "an output channel sees 4/2 inputs: 6 outputs * 2*2 places * 2 * 9",
        "def run(x, w): return F.conv2d(x, w, groups=2)",
        {"x": "1 4 4 4", "w": "6 2 3 3"}, {"y": "1 6 2 2"}, {"unused": 1}, 4 * (64 + 108), {F: 6 * 4 * 2 * 9},
    ),
    "padding is no work": Case(
        "along an axis of 4 with padding 1 the 3 taps meet 2, 3, 3 and 2 places: 10 of 12; squared, for 2*3 channels",
        "def run(x, w): return F.conv2d(x, w, padding=1)",
        {"x": "1 2 4 4", "w": "3 2 3 3"}, {"y": "1 3 4 4"}, {"unused": 1}, 4 * (32 + 54), {F: 3 * 2 * 100},
    ),
    "a convolution that steps over places": Case(
        "1x1 filters at stride 2 look at every other place of both axes: 4 of 16 places of 3 channels",
        "def run(x, w): return F.conv2d(x, w, stride=2)",
        {"x": "1 3 4 4", "w": "5 3 1 1"}, {"y": "1 5 2 2"}, {"unused": 1}, 4 * (12 + 15), {F: 5 * 4 * 3},
    ),
    "a convolution in three dimensions": Case(
        "2 places an axis: 3 outputs * 8 places * 2 inputs * 27",
        "def run(x, w): return F.conv3d(x, w)",
        {"x": "1 2 4 4 4", "w": "3 2 3 3 3"}, {"y": "1 3 2 2 2"}, {"unused": 1}, 4 * (128 + 162), {F: 3 * 8 * 2 * 27},
    ),
    "two output channels of a convolution": Case(
        "only two filters are read, and only their products made: 2 * 2*2 * 3 * 9",
        "def run(x, w): return F.conv2d(x, w)[:, :2]",
        {"x": "1 3 4 4", "w": "8 3 3 3"}, {"y": "1 2 2 2"}, {"unused": 1}, 4 * (48 + 54), {F: 2 * 4 * 27},
    ),
    "a bias's gradient": Case(
        "sums the gradient above it and reads nothing else, nor multiplies",
        """
        def run(g, x, w):
            return torch.ops.aten.convolution_backward(
                g, x, w, [5], [1], [0], [1], False, [0], 1, [False, False, True])[2]
        """,
        {"g": "2 5 8", "x": "2 3 10", "w": "5 3 3"}, {"y": "5"}, {"unused": 1}, 4 * 80, {},
    ),
    "an image unfolded and multiplied": Case(
        "unfold copies; the product is the convolution's, 9*2 deep, 3 wide, 4 places",
        "def run(x, w): return w @ F.unfold(x, 3)[0]",
        {"x": "1 2 4 4", "w": "3 18"}, {"y": "3 4"}, {"unused": 1}, 4 * (32 + 54), {F: 3 * 18 * 4},
    ),
    # Attention.
    "queries that share heads": Case(
        "4 query heads over 2 heads of keys, which are read once: q 4*4*8, k and v 2*6*8 each; 2 products",
        "def run(q, k, v): return F.scaled_dot_product_attention(q, k, v, enable_gqa=True)",
        {"q": "1 4 4 8", "k": "1 2 6 8", "v": "1 2 6 8"}, {"y": "1 4 4 8"}, {"unused": 1},
        4 * (128 + 192), {F: 2 * 4 * 4 * 6 * 8},
    ),
    "heads repeated by hand": Case(
        "expanding keys to the query heads moves nothing: q 128, k 96, v 96 numbers",
        """
        def run(q, k, v):
            k, v = (t[:, :, None].expand(-1, -1, 2, -1, -1).reshape(1, 4, 6, 8) for t in (k, v))
            return torch.softmax(q @ k.transpose(-1, -2), -1) @ v
        """,
        {"q": "1 4 4 8", "k": "1 2 6 8", "v": "1 2 6 8"}, {"y": "1 4 4 8"}, {"unused": 1},
        4 * (128 + 192), {F: 2 * 4 * 4 * 6 * 8},
    ),
    "fully masked query rows": Case(
        "a constant mask leaves queries 0 to 2 of 5 the keys 0 to 3 of 6: 12 pairs; the others are neither read nor seen",
        """
        def run(q, k, v):
            i, j = torch.arange(5)[:, None], torch.arange(6)[None, :]
            return F.scaled_dot_product_attention(q, k, v, attn_mask=(i < 3) & (j < 4))
        """,
        {"q": "1 2 5 8", "k": "1 2 6 8", "v": "1 2 6 8"}, {"y": "1 2 5 8"}, {"unused": 1},
        4 * 2 * 8 * (3 + 4 + 4), {F: 2 * 12 * 16},
    ),
    "an explicit lower triangle of 4 by 6": Case(
        "1+2+3+4 pairs are visible, the last two keys to nobody",
        """
        def run(q, k, v):
            return F.scaled_dot_product_attention(q, k, v, attn_mask=torch.ones(4, 6, dtype=torch.bool).tril())
        """,
        {"q": "1 1 4 8", "k": "1 1 6 8", "v": "1 1 6 8"}, {"y": "1 1 4 8"}, {"unused": 1},
        4 * 8 * (4 + 4 + 4), {F: 10 * 16},
    ),
    "a mask that is an input may show everything": Case(
        "all 24 pairs count, and the mask is read",
        "def run(q, k, v, bias): return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)",
        {"q": "1 1 4 8", "k": "1 1 6 8", "v": "1 1 6 8", "bias": "4 6"}, {"y": "1 1 4 8"}, {"unused": 1},
        4 * (32 + 48 + 48 + 24), {F: 24 * 16},
    ),
    "causal scores written out over more keys than queries": Case(
        "the mask hides keys 4 and 5 from every query: q 32, k 32 of 48 and, by the dense product, v 48",
        """
        def run(q, k, v):
            hidden = torch.ones(4, 6, dtype=torch.bool).triu(1)
            return torch.softmax((q @ k.t()).masked_fill(hidden, float("-inf")), -1) @ v
        """,
        {"q": "4 8", "k": "6 8", "v": "6 8"}, {"y": "4 8"}, {"unused": 1}, 4 * (32 + 32 + 48), {F: 10 * 16},
    ),
    "the last query of attention": Case(
        "one row of queries, every key",
        "def run(q, k, v): return F.scaled_dot_product_attention(q, k, v)[:, :, -1]",
        {"q": "1 1 4 8", "k": "1 1 6 8", "v": "1 1 6 8"}, {"y": "1 1 8"}, {"unused": 1}, 4 * (8 + 96), {F: 6 * 16},
    ),
    "the first queries of causal attention": Case(
        "two queries see two keys: 1+2 of 36 pairs; as a share (2/8) squared of 36, the least that any two see, 2.25",
        "def run(q, k, v): return F.scaled_dot_product_attention(q, k, v, is_causal=True)[:, :, :2]",
        {"q": "1 1 8 8", "k": "1 1 8 8", "v": "1 1 8 8"}, {"y": "1 1 2 8"}, {"unused": 1},
        4 * 3 * 16, {F: 2.25 * 16},
    ),
    "the first queries of causal attention written out": Case(
        "two queries see two keys, in 3 pairs; the second product reads all 8 values and counts two whole rows",
        """
        def run(q, k, v):
            hidden = torch.ones(8, 8, dtype=torch.bool).triu(1)
            return (torch.softmax((q @ k.t()).masked_fill(hidden, float("-inf")), -1) @ v)[:2]
        """,
        {"q": "8 8", "k": "8 8", "v": "8 8"}, {"y": "2 8"}, {"unused": 1},
        4 * (16 + 16 + 64), {F: 3 * 8 + 2 * 8 * 8},
    ),
    "the gradient of the values alone": Case(
        "needs the weights (the scores' product) and one more: 24 pairs, twice 8 wide; the values are not read",
        """
        def run(g, q, k, v):
            q, k, v = (t.detach().requires_grad_() for t in (q, k, v))
            return torch.autograd.grad(F.scaled_dot_product_attention(q, k, v), v, g)
        """,
        {"g": "1 1 4 8", "q": "1 1 4 8", "k": "1 1 6 8", "v": "1 1 6 8"}, {"y": "1 1 6 8"}, {"unused": 1},
        4 * (32 + 32 + 48), {F: 24 * 16},
    ),
    # Unread inputs, discarded work.
    "a layer norm's bias gradient": Case(
        "is a sum over the gradient above; data, statistics and weight go unread",
        """
        def run(g, x, w, bias):
            x, w, bias = (t.detach().requires_grad_() for t in (x, w, bias))
            return torch.autograd.grad(F.layer_norm(x, (8,), w, bias), bias, g)
        """,
        {"g": "4 8", "x": "4 8", "w": "8", "bias": "8"}, {"y": "8"}, {"unused": 1}, 4 * 32, {},
    ),
    "batch statistics in training": Case(
        "the running mean and variance do not enter the result",
        "def run(x, mean, var): return F.batch_norm(x, mean.clone(), var.clone(), training=True)",
        {"x": "4 3", "mean": "3", "var": "3"}, {"y": "4 3"}, {"unused": 1}, 48, {},
    ),
    "a prefix of a running sum": Case(
        "the first 3 sums need the first 3 numbers of 4 rows",
        "def run(x): return x.cumsum(-1)[:, :3]",
        {"x": "4 8"}, {"y": "4 3"}, {"unused": 1}, 48, {},
    ),
    "nearest neighbours of a smaller image": Case(
        "2 of 8 places an axis are looked at, in 3 channels",
        "def run(x): return F.interpolate(x, size=(2, 2))",
        {"x": "1 3 8 8"}, {"y": "1 3 2 2"}, {"unused": 1}, 4 * 12, {},
    ),
    "folding drops what falls into the padding": Case(
        "along an axis of 4 with padding 1, 10 of 12 (place, tap) pairs remain; squared, 2 channels",
        "def run(x): return F.fold(x, (4, 4), 3, padding=1)",
        {"x": "1 18 16"}, {"y": "1 2 4 4"}, {"unused": 1}, 4 * 2 * 96, {},
    ),
    "a constant triangle of scores": Case(
        "of the hidden half nothing is read: rows of 1, 2, 3 and 4 numbers",
        "def run(x): return x.masked_fill(torch.ones(4, 4, dtype=torch.bool).triu(1), 0.0)",
        {"x": "4 4"}, {"y": "4 4"}, {"unused": 1}, 40, {},
    ),
    # Scatters.
    "an in-place scatter of rows counts once": Case(
        "rows 1 and 3 are replaced: 4 of 6 old rows, 2 new ones; the indices are constants",
        """
        def run(x, s):
            x[torch.tensor([1, 3])] = s
            return x
        """,
        {"x": "6 4", "s": "2 4"}, {"y": "6 4"}, {"unused": 1}, 4 * (16 + 8), {},
    ),
    "an in-place addition of rows counts once": Case(
        "every old number enters the result once",
        """
        def run(x, s):
            x.index_add_(0, torch.tensor([1, 1]), s)
            return x
        """,
        {"x": "6 4", "s": "2 4"}, {"y": "6 4"}, {"unused": 1}, 4 * (24 + 8), {},
    ),
    "an element a row scattered over a copy": Case(
        "4 of 24 numbers are replaced, by constants at constant places",
        "def run(x): return x.scatter(1, torch.arange(4)[:, None], 0.0)",
        {"x": "4 6"}, {"y": "4 6"}, {"unused": 1}, 4 * 18, {},
    ),
    # Transforms and distances.
    "a convolution by Fourier transform": Case(
        "complex numbers in between are free; data and filter are read once",
        """
        def run(x, h):
            return torch.fft.irfft(torch.fft.rfft(x, n=16) * torch.fft.rfft(h, n=16), n=16)[..., :8]
        """,
        {"x": "3 8", "h": "8"}, {"y": "3 8"}, {"unused": 1}, 4 * 32, {},
    ),
    "distances": Case(
        "Euclidean distance is a product: 4 * 5 pairs, 8 deep",
        "def run(x, z): return torch.cdist(x, z)", {"x": "4 8", "z": "5 8"}, {"y": "4 5"}, {"unused": 1},
        4 * 72, {F: 160},
    ),
    "city-block distances": Case(
        "are no product",
        "def run(x, z): return torch.cdist(x, z, p=1.0)", {"x": "4 8", "z": "5 8"}, {"y": "4 5"}, {"unused": 1},
        4 * 72, {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_work_is_what_is_derived_by_hand(name):
    case = CASES[name]
    work = tallied(case.reference, case.inputs, case.outputs, case.axes).work
    assert work.read_bytes == case.read, case.because
    assert {dtype: round(macs, 6) for dtype, macs in work.macs.items()} == case.macs, case.because


def test_a_bound_below_a_microsecond_is_not_cut_to_zero():
    # Eight bytes at 16 GB/s take half a nanosecond.
    found = bound(make_work(read_bytes=4, written_bytes=4), make_device(), workload="w", tier=1)
    assert found.time_us == pytest.approx(0.0005)
