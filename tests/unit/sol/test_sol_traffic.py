"""Traffic: hand-derived bytes for small references, one rule of the bound a case."""

import pytest
from sol_builders import tallied

F32 = 4
CASES = {
    # By name: reference, inputs, outputs, axes, read bytes, written bytes.
    "an input is read once however often it is used": (
        "def run(x): return x * x + x.sum()",
        {"x": "n"}, {"y": "n"}, {"n": 10}, 40, 40,
    ),
    "an input that is never read costs nothing": (
        "def run(x, unused): return x + 1",
        {"x": "n", "unused": "n"}, {"y": "n"}, {"n": 10}, 40, 40,
    ),
    "an input that only gives its shape costs nothing": (
        "def run(x): return torch.zeros_like(x)",
        {"x": "n"}, {"y": "n"}, {"n": 10}, 0, 40,
    ),
    "work whose result is thrown away costs nothing": (
        "def run(x, w):\n    (x @ w).sum()\n    return x + 1",
        {"x": "n n", "w": "n n"}, {"y": "n n"}, {"n": 4}, 64, 64,
    ),
    "a bfloat16 tensor is priced at two bytes": (
        "def run(x): return x.float()",
        {"x": "n:bfloat16"}, {"y": "n"}, {"n": 10}, 20, 40,
    ),
    "bool and int8 are priced at one byte": (
        "def run(x, m): return torch.where(m, x, -x)",
        {"x": "n:int8", "m": "n:bool"}, {"y": "n:int8"}, {"n": 10}, 20, 10,
    ),
    "an expanded view is priced at its storage": (
        "def run(x): return x.unsqueeze(0).expand(8, -1).sum(0)",
        {"x": "n"}, {"y": "n"}, {"n": 10}, 40, 40,
    ),
    "a slice is priced at its own bytes": (
        "def run(x): return x[2:5] * 2",
        {"x": "n k"}, {"y": "3 k"}, {"n": 10, "k": 4}, 48, 48,
    ),
    "overlapping slices are priced at their union": (
        "def run(x): return x[0:6] + x[4:10]",
        {"x": "n"}, {"y": "6"}, {"n": 12}, 40, 24,
    ),
    "a slice and the whole are the whole": (
        "def run(x): return x[0:6].sum() + x.sum()",
        {"x": "n"}, {"y": ""}, {"n": 12}, 48, 4,
    ),
    "a strided slice reads every other element": (
        "def run(x): return x[::2] + 1",
        {"x": "n"}, {"y": "5"}, {"n": 10}, 20, 20,
    ),
    "a selected row is one row": (
        "def run(x): return x[3] + 1",
        {"x": "n k"}, {"y": "k"}, {"n": 10, "k": 4}, 16, 16,
    ),
    "the last token alone is read of a sequence": (
        "def run(x): return x.view(2, 5, 4)[:, -1] + 1",
        {"x": "10 k"}, {"y": "2 k"}, {"k": 4}, 32, 32,
    ),
    "pieces of a split are priced one by one": (
        "def run(x):\n    a, b = x.chunk(2, -1)\n    return torch.sigmoid(a)",
        {"x": "n k"}, {"y": "n 4"}, {"n": 3, "k": 8}, 48, 48,
    ),
    "elementwise work before a slice is not an excuse to read everything": (
        "def run(cache): return (cache.float() * 2)[:2]",
        {"cache": "n k:bfloat16"}, {"y": "2 k"}, {"n": 100, "k": 4}, 16, 32,
    ),
    "casting a whole cache before unknown indices reads one row for certain": (
        "def run(cache, i): return cache.float()[i]",
        {"cache": "n k:bfloat16", "i": "m:int64"}, {"y": "m k"}, {"n": 1000, "k": 4, "m": 3}, 8 + 24, 48,
    ),
    "an embedding of unknown indices reads one row for certain": (
        "def run(w, i): return F.embedding(i, w)",
        {"w": "v k", "i": "m:int64"}, {"y": "m k"}, {"v": 1000, "k": 4, "m": 3}, 16 + 24, 48,
    ),
    "index_select by unknown indices reads one row for certain": (
        "def run(w, i): return torch.index_select(w, 0, i)",
        {"w": "v k", "i": "m:int64"}, {"y": "m k"}, {"v": 1000, "k": 4, "m": 3}, 16 + 24, 48,
    ),
    "gather along an axis is sure of one element a row": (
        "def run(x, i): return x.gather(1, i)",
        {"x": "n k", "i": "n 1:int64"}, {"y": "n 1"}, {"n": 6, "k": 100}, 24 + 48, 24,
    ),
    "a softmax before a pick still reads whole rows": (
        "def run(x, t): return F.cross_entropy(x, t)",
        {"x": "n k", "t": "n:int64"}, {"y": ""}, {"n": 6, "k": 10}, 240 + 48, 4,
    ),
    "a row-wise reduction that is cut reads the rows that remain": (
        "def run(x): return torch.softmax(x, -1)[:2]",
        {"x": "n k"}, {"y": "2 k"}, {"n": 10, "k": 4}, 32, 32,
    ),
    "one row of a matrix product reads one row of the left operand": (
        "def run(x, w): return (x @ w)[3]",
        {"x": "n k", "w": "k m"}, {"y": "m"}, {"n": 10, "k": 4, "m": 5}, 16 + 80, 20,
    ),
    "writing a slice into a copy reads the remainder": (
        "def run(x, y):\n    z = x.clone()\n    z[2:5] = y\n    return z",
        {"x": "n k", "y": "3 k"}, {"z": "n k"}, {"n": 10, "k": 4}, 7 * 16 + 48, 160,
    ),
    "overwriting everything reads nothing of the old": (
        "def run(x, y):\n    z = x.clone()\n    z[:] = y\n    return z",
        {"x": "n", "y": "n"}, {"z": "n"}, {"n": 10}, 40, 40,
    ),
    "scattering rows into a copy reads at least the other rows": (
        "def run(x, i, s): return x.index_copy(0, i, s)",
        {"x": "n k", "i": "3:int64", "s": "3 k"}, {"z": "n k"}, {"n": 10, "k": 4}, 7 * 16 + 24 + 48, 160,
    ),
    "adding rows into a copy reads all of it": (
        "def run(x, i, s): return x.index_add(0, i, s)",
        {"x": "n k", "i": "3:int64", "s": "3 k"}, {"z": "n k"}, {"n": 10, "k": 4}, 160 + 24 + 48, 160,
    ),
    "an updated input that is returned is read once and written once": (
        "def run(x, y): return x.add_(y)",
        {"x": "n", "y": "n"}, {"z": "n"}, {"n": 10}, 80, 40,
    ),
    "an input handed through is read and written": (
        "def run(x): return x",
        {"x": "n"}, {"y": "n"}, {"n": 10}, 40, 40,
    ),
    "two outputs of one tensor are two writes": (
        "def run(x):\n    y = x + 1\n    return y, y",
        {"x": "n"}, {"y": "n", "z": "n"}, {"n": 10}, 40, 80,
    ),
    "a constant made inside is free": (
        "def run(x): return x + torch.arange(x.shape[0]) * torch.tensor([2.0])",
        {"x": "n"}, {"y": "n"}, {"n": 10}, 40, 40,
    ),
    "both halves of a rotary embedding are read once": (
        """
        def run(x, cos):
            a, b = x.chunk(2, -1)
            return torch.cat([a * cos - b, b * cos + a], -1)
        """,
        {"x": "n k", "cos": "n 4"}, {"y": "n k"}, {"n": 3, "k": 8}, 96 + 48, 96,
    ),
    "a diagonal reads its own elements": (
        "def run(x): return torch.diagonal(x) * 2",
        {"x": "n n"}, {"y": "n"}, {"n": 8}, 32, 32,
    ),
    "scratch of an odd type is no obstacle": (
        "def run(x, m, v): return F.batch_norm(x, m, v)",
        {"x": "b c", "m": "c", "v": "c"}, {"y": "b c"}, {"b": 4, "c": 3}, 48 + 24, 48,
    ),
    "padding adds no traffic": (
        "def run(x): return F.pad(x, (3, 0))",
        {"x": "n k"}, {"y": "n 7"}, {"n": 3, "k": 4}, 48, 84,
    ),
    "a stack that is cut reads what remains": (
        "def run(x, y): return torch.stack([x, y])[0] * 2",
        {"x": "n", "y": "n"}, {"z": "n"}, {"n": 10}, 40, 40,
    ),
    "causal attention over more keys than queries never reads the last keys": (
        "def run(q, k): return F.scaled_dot_product_attention(q, k, k, is_causal=True)",
        {"q": "b h n d", "k": "b h m d"}, {"y": "b h n d"}, {"b": 1, "h": 2, "n": 4, "m": 16, "d": 8},
        2 * 4 * 8 * F32 * 2, 2 * 4 * 8 * F32,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_traffic(name):
    reference, inputs, outputs, axes, read, written = CASES[name]
    work = tallied(reference, inputs, outputs, axes).work
    assert (work.read_bytes, work.written_bytes) == (read, written)


GENERATED = """
def run(w, i): return F.embedding(i, w)
def make(axes, device):
    return {"w": torch.randn(axes["v"], axes["k"]), "i": torch.arange(axes["m"]) % 7}
"""


def test_real_indices_count_the_rows_they_touch():
    axes = {"v": 1000, "k": 4, "m": 50}
    found = tallied(GENERATED, {"w": "v k", "i": "m:int64"}, {"y": "m k"}, axes, generator="make")
    assert found.work.read_bytes == 7 * 16 + 400
    assert not found.notes


def test_unseen_indices_are_named():
    reference, inputs, outputs, axes, *_ = CASES["an embedding of unknown indices reads one row for certain"]
    assert any("rows touched are unknown" in note for note in tallied(reference, inputs, outputs, axes).notes)


EXPANDED = """
def run(x, y): return x + y
def make(axes, device):
    row = torch.randn(1, axes["k"])
    return {"x": row.expand(axes["n"], -1), "y": torch.randn(axes["n"], axes["k"])}
"""


def test_an_input_that_arrives_expanded_is_priced_at_its_storage():
    found = tallied(EXPANDED, {"x": "n k", "y": "n k"}, {"z": "n k"}, {"n": 8, "k": 4}, generator="make")
    assert found.work.read_bytes == 16 + 128


ALIASED = """
def run(x, y): return x * y
def make(axes, device):
    both = torch.randn(axes["n"])
    return {"x": both, "y": both}
"""


def test_one_storage_passed_twice_counts_once():
    found = tallied(ALIASED, {"x": "n", "y": "n"}, {"z": "n"}, {"n": 8}, generator="make")
    assert found.work.read_bytes == 32


def test_an_operation_without_a_rule_is_named_and_not_priced():
    found = tallied("def run(x): return torch.linalg.inv(x)[:1]", {"x": "n n"}, {"y": "1 n"}, {"n": 4})
    assert found.work.read_bytes == 4
    assert any("linalg_inv" in note for note in found.notes)
