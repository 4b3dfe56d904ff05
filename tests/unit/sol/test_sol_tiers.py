"""Tiers: fake tensors first, real values where they decide, and what is declared when nothing else is possible."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sol_builders import make_problem

from deep_agent.problem.dtype import DType
from deep_agent.sol import knownvalues
from deep_agent.sol.counting import tally
from deep_agent.sol.tracing import ReferenceTracer


def traced(*args, **kwargs):
    problem = make_problem(*args, **kwargs)
    with ReferenceTracer(problem) as tracer:
        found = tracer.trace(problem.workloads[0])
        graph = found.concrete_graph("probe")
        return found, None if graph is None else tally(graph).work


PAGED = """
def run(q, cache, table, lengths):
    out = []
    for row, length in enumerate(lengths.tolist()):
        n = -(-length // cache.shape[1])
        k = cache[table[row, :n]].reshape(-1, cache.shape[-1])[:length]
        out.append(torch.softmax(q[row] @ k.t(), -1) @ k)
    return torch.stack(out)

def make(axes, device):
    return {
        "q": torch.randn(axes["b"], axes["k"], dtype=torch.bfloat16),
        "cache": torch.randn(axes["p"], axes["s"], axes["k"], dtype=torch.bfloat16),
        "table": torch.arange(axes["b"] * axes["j"], dtype=torch.int32).reshape(axes["b"], -1) * 3,
        "lengths": torch.full((axes["b"],), 5, dtype=torch.int32),
    }
"""
PAGED_INPUTS = {"q": "b k:bfloat16", "cache": "p s k:bfloat16", "table": "b j:int32", "lengths": "b:int32"}


@pytest.mark.parametrize("pages", [100, 2**24])
def test_a_paged_cache_is_priced_by_the_pages_in_use_at_any_size(pages):
    # 16 million pages of 4 rows are 8 GiB that are never made. Each of 2 queries sees 5 rows of 64 bf16 numbers,
    # a page and a quarter, by 2 entries of 3 in the table; what Python read of the lengths is not counted.
    axes = {"b": 2, "k": 64, "p": pages, "s": 4, "j": 3}
    found, work = traced(PAGED, PAGED_INPUTS, {"y": "b k:bfloat16"}, axes, generator="make")
    assert found.tier == 2
    assert work.read_bytes == 2 * (2 * 64) + 2 * (2 * 5 * 64) + 2 * 2 * 4
    assert work.macs == {DType.BFLOAT16: 2 * 2 * 5 * 64}


MOE = """
def run(x, w, gate):
    p, chosen = torch.topk(torch.softmax(x @ gate, -1), 2)
    y = torch.zeros_like(x)
    for expert in range(w.shape[0]):
        row, slot = torch.where(chosen == expert)
        if row.numel():
            y.index_add_(0, row, (x[row] @ w[expert]) * p[row, slot, None])
    return y

def make(axes, device):
    gate = torch.full((axes["k"], axes["n_experts"]), -1.0)
    gate[:, 3], gate[:, 5] = 1.0, 0.5
    return {
        "x": torch.rand(axes["n"], axes["k"]),
        "w": torch.randn(axes["n_experts"], axes["k"], axes["k"]),
        "gate": gate,
    }
"""


def test_expert_weights_count_for_the_experts_hit():
    # Positive rows times this gate choose experts 3 and 5 of 16: two matrices of 8 by 8, 6 rows each.
    axes = {"n": 6, "k": 8, "n_experts": 16}
    inputs = {"x": "n k", "w": "n_experts k k", "gate": "k n_experts"}
    found, work = traced(MOE, inputs, {"y": "n k"}, axes, generator="make")
    assert found.tier == 2
    assert work.read_bytes == 4 * (6 * 8 + 2 * 64 + 8 * 16)
    assert work.macs == {DType.FLOAT32: 6 * 8 * 16 + 2 * 6 * 64}


GROUPED = """
def run(x, w, ends): return torch._grouped_mm(x, w, offs=ends)
def make(axes, device):
    return {
        "x": torch.randn(axes["t"], axes["k"], dtype=torch.bfloat16),
        "w": torch.randn(axes["g"], axes["k"], axes["m"], dtype=torch.bfloat16),
        "ends": torch.tensor([4, 4, 12, 12], dtype=torch.int32),
    }
"""


def test_a_grouped_product_counts_groups_with_rows_and_rows_in_groups():
    # Groups end at rows 4, 4, 12, 12 of 16: two groups have rows, twelve rows are in one.
    axes = {"t": 16, "g": 4, "k": 8, "m": 16}
    inputs = {"x": "t k:bfloat16", "w": "g k m:bfloat16", "ends": "g:int32"}
    _, work = traced(GROUPED, inputs, {"y": "t m:bfloat16"}, axes, generator="make")
    assert work.read_bytes == 2 * (12 * 8 + 2 * 8 * 16) + 16
    assert work.macs == {DType.BFLOAT16: 12 * 8 * 16}


VARLEN = """
def run(x, w, ends):
    return torch.cat([x[a:b] @ w for a, b in zip(ends[:-1].tolist(), ends[1:].tolist())])
def make(axes, device):
    return {
        "x": torch.randn(axes["t"], axes["k"]),
        "w": torch.randn(axes["k"], axes["k"]),
        "ends": torch.tensor([0, 3, 10], dtype=torch.int32),
    }
"""


def test_lengths_come_from_the_generator_and_are_never_zero():
    # Zero-filled ends would make every piece empty and the product nothing.
    found, work = traced(
        VARLEN, {"x": "t k", "w": "k k", "ends": "3:int32"}, {"y": "10 k"}, {"t": 12, "k": 4}, generator="make"
    )
    assert found.tier == 2
    assert work.macs == {DType.FLOAT32: 10 * 16}
    assert work.read_bytes == 4 * (10 * 4 + 16)


SEEDED = """
def run(w, i): return F.embedding(i, w)
def make(axes, device):
    n = int(torch.initial_seed()) + 2
    return {"w": torch.randn(axes["v"], axes["k"]), "i": torch.arange(axes["m"]) % n}
"""


def test_the_least_of_several_seeds_counts():
    # Seed s uses s + 2 rows, so the first seed's two rows count.
    axes = {"v": 100, "k": 4, "m": 9}
    found, work = traced(SEEDED, {"w": "v k", "i": "m:int64"}, {"y": "m k"}, axes, generator="make")
    assert work.read_bytes == 2 * 16 + 72
    assert found.counted_tier == 2
    assert any("least of 3 seeds" in note for note in found.notes)


def test_casting_a_whole_cache_before_known_indices_reads_the_rows_they_name():
    reference = """
    def run(cache, i): return cache.float()[i]
    def make(axes, device):
        return {"cache": torch.randn(axes["n"], axes["k"]).bfloat16(), "i": torch.tensor([7, 7, 999, -1])}
    """
    axes = {"n": 1000, "k": 4}
    _, work = traced(reference, {"cache": "n k:bfloat16", "i": "4:int64"}, {"y": "4 k"}, axes, generator="make")
    # -1 is row 999: two distinct rows of four bf16 numbers, four indices.
    assert work.read_bytes == 2 * 8 + 32


def test_known_pairs_of_indices_count_each_pair_once():
    reference = """
    def run(x, i, j): return x[i, j]
    def make(axes, device):
        return {"x": torch.randn(9, 9), "i": torch.tensor([1, 1, 2]), "j": torch.tensor([4, 4, 4])}
    """
    _, work = traced(reference, {"x": "n n", "i": "3:int64", "j": "3:int64"}, {"y": "3"}, {"n": 9}, generator="make")
    assert work.read_bytes == 2 * 4 + 48


def test_two_views_of_one_storage_count_as_the_larger():
    reference = """
    def run(a, z): return a.sum() + z.sum()
    def make(axes, device):
        both = torch.randn(axes["n"])
        return {"a": both[:8], "z": both[4:]}
    """
    _, work = traced(reference, {"a": "8", "z": "6"}, {"y": ""}, {"n": 10}, generator="make")
    assert work.read_bytes == 32


def test_a_generator_that_fake_tensors_cannot_run_is_run_on_real_ones():
    reference = """
    def run(w, i): return F.embedding(i, w)
    def make(axes, device):
        rows = torch.randint(0, 3, (axes["m"],)).numpy() * 0 + 5
        return {"w": torch.randn(axes["v"], axes["k"]), "i": torch.from_numpy(rows)}
    """
    axes = {"v": 100, "k": 4, "m": 9}
    found, work = traced(reference, {"w": "v k", "i": "m:int64"}, {"y": "m k"}, axes, generator="make")
    assert found.counted_tier == 2
    assert work.read_bytes == 16 + 72


def test_narrow_types_are_generated_and_traced():
    reference = """
    def run(x, w, s):
        low, high = w.view(torch.uint8) & 15, w.view(torch.uint8) >> 4
        codes = torch.stack([low, high], -1).flatten(-2).float()
        return x.float() @ (codes * s).t()
    def make(axes, device):
        return {
            "x": torch.randn(axes["n"], axes["k"]).to(torch.float8_e4m3fn),
            "w": torch.randint(0, 256, (axes["m"], axes["half"]), dtype=torch.uint8).view(torch.float4_e2m1fn_x2),
            "s": torch.rand(axes["m"], 1),
        }
    """
    inputs = {"x": "n k:float8_e4m3fn", "w": "m k:float4_e2m1fn_x2", "s": "m 1"}
    found, work = traced(
        reference, inputs, {"y": "n m"}, {"n": 4, "k": 8, "m": 6}, exprs={"half": "k // 2"}, generator="make"
    )
    assert found.tier == 1
    assert work.read_bytes == 32 + 24 + 24
    assert sum(work.macs.values()) == 4 * 8 * 6


def test_complex_numbers_inside_are_named_and_leave_no_graph():
    problem = make_problem("def run(x): return torch.fft.fft(x).abs()", {"x": "n k"}, {"y": "n k"}, {"n": 4, "k": 8})
    with ReferenceTracer(problem) as tracer:
        found = tracer.trace(problem.workloads[0])
        assert any("complex64" in note for note in found.notes)
        assert tracer.graph(problem.workloads[0], found) is None


def test_values_too_costly_to_compute_leave_the_declared_outputs(monkeypatch):
    monkeypatch.setattr(knownvalues, "MAX_STEPS", 10)
    reference = """
    def run(x): return x[: int(x.sum().item() * 0) + 4]
    def make(axes, device): return {"x": torch.randn(axes["n"], axes["k"])}
    """
    found, work = traced(reference, {"x": "n k"}, {"y": "4 k"}, {"n": 2**15, "k": 2**12}, generator="make")
    assert (found.tier, work) == (3, None)
    assert any("too large" in note for note in found.notes)


GROWING = {
    "a product": ("def run(x, w): return torch.softmax(x @ w, -1)", {"x": "n k", "w": "k m"}, {"y": "n m"}),
    "a padded convolution": (
        "def run(x, w): return F.conv2d(x, w, padding=1)", {"x": "1 n k k", "w": "m n 3 3"}, {"y": "1 m k k"},
    ),
    "causal attention": (
        "def run(q, k2): return F.scaled_dot_product_attention(q, k2, k2, is_causal=True)",
        {"q": "1 1 n m", "k2": "1 1 k m"}, {"y": "1 1 n m"},
    ),
    "a masked score": (
        """
        def run(q, k2):
            hidden = torch.ones(q.shape[0], k2.shape[0], dtype=torch.bool).triu(1)
            return torch.softmax((q @ k2.t()).masked_fill(hidden, float("-inf")), -1) @ k2
        """,
        {"q": "n m", "k2": "k m"}, {"y": "n m"},
    ),
    "a known gather": (
        """
        def run(w, i): return w[i]
        def make(axes, device):
            return {"w": torch.randn(axes["n"], axes["k"]), "i": torch.arange(axes["m"]) % axes["n"]}
        """,
        {"w": "n k", "i": "m:int64"}, {"y": "m k"},
    ),
}  # fmt: skip


@given(st.sampled_from(sorted(GROWING)), st.tuples(*[st.integers(2, 9)] * 3), st.integers(0, 2))
@settings(max_examples=25, deadline=None)
def test_work_grows_with_sizes(name, sizes, grown):
    reference, inputs, outputs = GROWING[name]
    larger = [size + 3 * (place == grown) for place, size in enumerate(sizes)]
    works = []
    for chosen in (sizes, larger):
        axes = dict(zip("nkm", chosen, strict=True))
        works.append(traced(reference, inputs, outputs, axes, generator="make" if "def make" in reference else None)[1])
    small, large = works
    assert large.read_bytes >= small.read_bytes
    assert large.written_bytes >= small.written_bytes
    assert sum(large.macs.values()) >= sum(small.macs.values())
