"""The kinds of bounds: how they lie to each other, what the gate forgives, and that a ledger adds up to the tally."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sol_builders import concrete_graph, make_device, make_work

from deep_agent.problem.cards import A100, H200, SPECS
from deep_agent.problem.dtype import DType
from deep_agent.sol.counting import tally
from deep_agent.sol.figures import COMPAT_FIXED_US, compat_us, figures, gate_us
from deep_agent.sol.ledger import filtering_gain, ledger
from deep_agent.sol.roofline import bound
from deep_agent.sol.score import sol_score

DEVICES = [*(spec.model() for spec in SPECS), make_device(), make_device(bound_kind="measured")]
amounts = st.floats(0, 1e14, allow_nan=False)

CASES = {
    "pointwise": ("def run(x): return x * 2 + 1", {"x": "n m"}, {"y": "n m"}),
    "norm": (
        "def run(x, w): return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * w",
        {"x": "n m", "w": "m"},
        {"y": "n m"},
    ),
    "attention": (
        """
        def run(q, k, v):
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)
        """,
        {"q": "n h m d:bfloat16", "k": "n h m d:bfloat16", "v": "n h m d:bfloat16"},
        {"y": "n h m d:bfloat16"},
    ),
    "linear chain": (
        "def run(x, w): return F.linear(F.gelu(F.linear(x, w)), w)",
        {"x": "n m:bfloat16", "w": "m m:bfloat16"},
        {"y": "n m:bfloat16"},
    ),
    "slice and gather": (
        "def run(x, i): return x[: x.shape[0] // 2].index_select(1, i)",
        {"x": "n m", "i": "h:int64"},
        {"y": "half h"},
    ),
    "expanded bias": ("def run(x, w): return x + w.expand(x.shape)", {"x": "n m", "w": "m"}, {"y": "n m"}),
    "identity": ("def run(x): return x", {"x": "n m"}, {"y": "n m"}),
    "concatenated": ("def run(x, z): return torch.cat([x, z], 0)", {"x": "n m", "z": "n m"}, {"y": "twice m"}),
    "maker": ("def run(x): return torch.zeros_like(x) + 1", {"x": "n m"}, {"y": "n m"}),
    "convolution": (
        "def run(x, w): return F.conv2d(x, w, padding=1)",
        {"x": "n h m m", "w": "h h 3 3"},
        {"y": "n h m m"},
    ),
}


def found_at(case, factor=1, device=None):
    reference, inputs, outputs = CASES[case]
    sizes = {"n": 8 * factor, "m": 32 * factor, "h": 4, "d": 16}
    exprs = {"half": "n / 2", "twice": "n * 2"}
    graph = concrete_graph(reference, inputs, outputs, sizes, exprs=exprs)
    device = device or H200.model()
    work = tally(graph).work
    strict = bound(work, device, workload="w", tier=1)
    return work, ledger(graph), figures(strict, device, ledger(graph))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("device", DEVICES, ids=lambda device: f"{device.name} {device.bound_kind}")
def test_the_kinds_lie_in_order_and_are_finite(case, device):
    _, _, kinds = found_at(case, device=device)
    assert 0 < kinds.strict_us <= kinds.capacity_us < float("inf")
    assert kinds.strict_us <= kinds.unfused_us < float("inf")
    if device.bound_kind == "sheet":
        assert 0 <= kinds.gate_us <= kinds.strict_us
    else:
        assert kinds.gate_us is None
    assert (kinds.compat_us is None) == (device.kind == "cpu")


@pytest.mark.parametrize("case", CASES)
def test_the_ledger_adds_up_to_the_tally(case):
    work, entries, _ = found_at(case)
    for dtype, macs in work.macs.items():
        assert sum(entry.macs for entry in entries.entries if entry.dtype == dtype) == pytest.approx(macs)
    assert sum(entry.macs for entry in entries.entries) == pytest.approx(sum(work.macs.values()))


@pytest.mark.parametrize("case", [name for name in CASES if name != "identity"])
def test_unfused_traffic_is_no_less_than_what_must_cross_memory(case):
    work, entries, _ = found_at(case)
    assert sum(entry.moved_bytes for entry in entries.entries) >= work.moved_bytes


@pytest.mark.parametrize("case", CASES)
def test_every_kind_grows_with_the_sizes(case):
    series = [found_at(case, factor)[2] for factor in (1, 2, 4)]
    for kind in ("strict_us", "gate_us", "capacity_us", "unfused_us", "compat_us"):
        values = [getattr(kinds, kind) for kinds in series]
        assert all(small <= large for small, large in pairwise(values)), kind


def test_an_unfused_chain_pays_for_every_intermediate():
    _, entries, kinds = found_at("pointwise", 64)
    n_bytes = 8 * 64 * 32 * 64 * 4
    assert sum(entry.moved_bytes for entry in entries.entries) == 4 * n_bytes
    assert kinds.unfused_us == pytest.approx(2 * kinds.strict_us)


def test_an_expanded_operand_costs_its_storage_and_not_its_shape():
    _, entries, _ = found_at("expanded bias")
    assert sum(entry.moved_bytes for entry in entries.entries) == (2 * 8 * 32 + 32) * 4


@pytest.mark.parametrize(
    ("call", "shape", "gain"),
    [
        ("F.conv2d(x, w)", "8 8 3 3", 4.0),
        ("F.conv2d(x, w, stride=2)", "8 8 3 3", 1.0),
        ("F.conv2d(x, w, stride=(1, 2))", "8 8 3 3", 2.0),
        ("F.conv2d(x, w)", "8 8 1 1", 1.0),
        ("F.conv2d(x, w)", "8 8 5 5", 6.25),
        ("F.conv2d(x, w, groups=8)", "8 1 3 3", 4.0),
    ],
)
def test_the_gate_forgives_minimal_filtering_of_stride_one(call, shape, gain):
    graph = concrete_graph(f"def run(x, w): return {call}.sum()", {"x": "b 8 16 16", "w": shape}, {"y": ""}, {"b": 2})
    convolution = next(operation for operation in graph.operations if "conv" in operation.name)
    assert filtering_gain(graph, convolution) == gain


@pytest.mark.parametrize(("mask", "is_proved"), [("b", False), ("torch.ones(8, 8, dtype=torch.bool).triu(1)", True)])
def test_no_time_is_proved_impossible_where_data_may_hide_work(mask, is_proved):
    reference = f"def run(x, b): return x.masked_fill({mask}, 0.0) + b.sum()"
    graph = concrete_graph(reference, {"x": "n n", "b": "n n:bool"}, {"y": "n n"}, {"n": 8})
    device, entries = H200.model(), ledger(graph)
    strict = bound(tally(graph).work, device, workload="w", tier=1)
    assert entries.may_hide_work is not is_proved
    assert (figures(strict, device, entries).gate_us is not None) is is_proved


def test_the_gate_prices_a_wide_type_at_the_fastest_rate_of_any():
    device, work = A100.model(), make_work(macs={DType.FLOAT32: 1e12}, read_bytes=1)
    assert gate_us(work, device, None) == pytest.approx(1e18 / device.mac_per_s[DType.INT8])


def test_the_gate_does_not_charge_outputs_that_the_cache_may_still_hold():
    device = H200.model()
    held = make_work(read_bytes=1e6, written_bytes=device.last_level_cache_bytes)
    assert gate_us(held, device, None) == pytest.approx(1e12 / device.fastest_bytes_per_s())
    more = make_work(read_bytes=1e6, written_bytes=device.last_level_cache_bytes + 1e6)
    assert gate_us(more, device, None) == pytest.approx(2e12 / device.fastest_bytes_per_s())


def test_the_published_example_of_a_product_comes_out():
    graph = concrete_graph(
        "def run(x, w): return x @ w",
        {"x": "b s d:float16", "w": "d d:float16"},
        {"y": "b s d:float16"},
        {"b": 16, "s": 512, "d": 2560},
    )
    assert compat_us(tally(graph).work, ledger(graph)) - COMPAT_FIXED_US == pytest.approx(59.3, abs=0.1)


def test_the_published_model_knows_one_width_a_graph():
    wide = make_work(macs={DType.FLOAT32: 1e12})
    narrow = make_work(macs={DType.FLOAT8_E4M3FN: 1e12})
    assert compat_us(wide, None) - COMPAT_FIXED_US == pytest.approx(
        2 * (compat_us(narrow, None) - COMPAT_FIXED_US), rel=1e-5
    )


def test_a_product_too_large_for_the_cache_moves_more_than_its_operands():
    small = make_device(last_level_cache_bytes=2**12, bound_kind="sheet")
    _, entries, kinds = found_at("linear chain", 8, small)
    product = next(entry for entry in entries.entries if entry.is_matrix_product)
    held = 2**12 / 2
    moved = (2 * product.macs / held**0.5 - 2 * held) * 2
    assert kinds.capacity_us == pytest.approx(max(kinds.strict_us, moved / small.fastest_bytes_per_s() * 1e6))
    assert kinds.capacity_us > kinds.strict_us


@settings(max_examples=200)
@given(
    read=amounts, written=amounts, macs=st.dictionaries(st.sampled_from(list(DType)), amounts), more=st.floats(1, 50)
)
def test_no_amount_of_work_puts_the_kinds_out_of_order(read, written, macs, more):
    for device in DEVICES:
        less = figures_of(make_work(read_bytes=read, written_bytes=written, macs=macs), device)
        grown = {dtype: count * more for dtype, count in macs.items()}
        larger = figures_of(make_work(read_bytes=read * more, written_bytes=written * more, macs=grown), device)
        if less.gate_us is not None:
            assert less.gate_us <= less.strict_us * (1 + 1e-12)
            assert less.gate_us <= larger.gate_us * (1 + 1e-12)
        assert less.strict_us <= larger.strict_us * (1 + 1e-12)
        assert less.strict_us <= less.capacity_us


def figures_of(work, device):
    return figures(bound(work, device, workload="w", tier=3), device, None)


times = st.floats(0, 1e9, allow_nan=False)


@given(time_us=times, more=st.floats(0, 1e9), baseline_us=times, bound_us=times)
def test_a_score_stays_in_its_range_and_falls_as_time_grows(time_us, more, baseline_us, bound_us):
    faster = sol_score(time_us=time_us, baseline_us=baseline_us, bound_us=bound_us).clamped
    slower = sol_score(time_us=time_us + more, baseline_us=baseline_us, bound_us=bound_us).clamped
    assert 0 <= slower <= faster <= 1


SIZED = {
    "norm": CASES["norm"],
    "linear chain": CASES["linear chain"],
    "attention": CASES["attention"],
    "convolution": (
        "def run(x, w): return F.conv2d(x, w, padding=1)",
        {"x": "n h m 8", "w": "h h 3 3"},
        {"y": "n h m 8"},
    ),
}
sizes = st.fixed_dictionaries({"n": st.integers(1, 64), "m": st.integers(1, 96), "h": st.integers(1, 16)})


@settings(max_examples=30, deadline=None)
@given(case=st.sampled_from(sorted(SIZED)), at=sizes, more=sizes)
def test_at_any_sizes_the_kinds_lie_in_order_and_grow(case, at, more):
    small, large = (traced(case, one) for one in (at, {name: at[name] + more[name] for name in at}))
    for kinds in (small, large):
        assert 0 < kinds.strict_us <= min(kinds.capacity_us, kinds.unfused_us) < float("inf")
        assert 0 <= kinds.gate_us <= kinds.strict_us
    for kind in ("strict_us", "gate_us", "capacity_us", "unfused_us", "compat_us"):
        assert getattr(small, kind) <= getattr(large, kind) * (1 + 1e-12), kind


def traced(case, at):
    reference, inputs, outputs = SIZED[case]
    graph = concrete_graph(reference, inputs, outputs, at | {"d": 16})
    return figures(bound(tally(graph).work, A100.model(), workload="w", tier=1), A100.model(), ledger(graph))
