"""Which counted work an honest kernel may leave out, so that the gate does not call its time impossible."""

import pytest
from sol_builders import concrete_graph

from deep_agent.problem.cards import H200
from deep_agent.sol.constants import Constants
from deep_agent.sol.counting import tally
from deep_agent.sol.figures import figures
from deep_agent.sol.ledger import ledger
from deep_agent.sol.necessity import necessity
from deep_agent.sol.roofline import bound

N = {"n": 256}
MATRICES = dict.fromkeys("abv", "n n")
PROVED = {
    "a product": "a @ b",
    "a product and a bias": "a @ b + v[0]",
    "products with an activation between": "F.gelu(a @ b) @ v",
    "a gated product": "(F.silu(a @ b) * (a @ v)) @ b",
    "attention": "torch.softmax(a @ b.T * 0.1, -1) @ v",
    "attention under a causal mask": "torch.softmax((a @ b.T).masked_fill("
    "torch.ones(256, 256, dtype=torch.bool).triu(1), -torch.inf), -1) @ v",
    "attention by one call": "F.scaled_dot_product_attention(a[None], b[None], v[None])[0]",
    "a residual and a norm": "F.layer_norm(v + a @ b, (256,))",
    "scales of operands": "(a * v[0]) @ (b * v[:, :1])",
}
REORDERED = {
    "a chain": "(a @ b) @ v",
    "a scaled chain": "((a @ b) * v[0]) @ v",
    "a chain with a residual": "(a @ b + v) @ v",
    "scores without a softmax": "(a @ b.T) @ v",
    "a sum over columns": "(a @ b).sum(-1, keepdim=True) + v",
    "a mean of a linear layer": "F.linear(a, b).mean(1, keepdim=True) + v",
    "a trace": "torch.trace(a @ b) + v",
    "a product with ones": "a @ torch.ones(256, 256) + b + v",
    "a product with itself": "a @ a.T + b + v",
    "a product twice": "torch.exp(a @ b) + torch.exp(-(a @ b)) + v",
    "a cumulative sum of a product": "torch.cumsum(a @ b, 0) + v",
    "projections under attention": "torch.softmax((a @ b) @ (a @ v).T, -1)",
}
HIDDEN = {
    "a diagonal": "torch.diag(a[0]) @ b + v",
    "a lower triangle of ones": "torch.tril(torch.ones(256, 256)) @ b + a + v",
    "rows chosen by one-hot": "F.one_hot(a[:, 0].long().clamp(0, 255), 256).float() @ b + v",
    "a mask that is multiplied": "((a > 0).float() * b).sum(1, keepdim=True) + v",
    "a multiplied constant mask": "a * torch.tril(torch.ones(256, 256)) + b + v",
    "one minus a mask": "a * (1.0 - (b > 0).float()) + v",
    "experts by weights": "torch.zeros(256, 256).scatter_(1, a[:, :2].long().clamp(0, 255), b[:, :2])[:, :1] * (a @ v)",
    "a table of biases on scores": "torch.softmax(a @ b.T + v, -1) @ v",
    "a causal mask by a large number": "torch.softmax(a @ b.T + (1.0 - torch.ones(256, 256).tril()) * -1e9, -1) @ v",
    "a softmax by hand": "torch.exp((a @ b.T).masked_fill(torch.ones(256, 256, dtype=torch.bool).triu(1), -torch.inf)"
    " - 3.0) @ v",
    "an early end": "a + b + v + torch.any(v > 0)",
    "a state of zeros": "torch.zeros(256, 256) @ a + b + v",
}


def looked_at(expression):
    graph = concrete_graph(f"def run(a, b, v): return {expression}", MATRICES, {"y": "n n"}, N)
    return graph, necessity(graph, Constants(graph))


def gate_of(graph):
    device, entries = H200.model(), ledger(graph)
    return figures(bound(tally(graph).work, device, workload="w", tier=1), device, entries).gate_us


@pytest.mark.parametrize("expression", PROVED.values(), ids=PROVED)
def test_a_dense_product_of_what_is_given_is_necessary(expression):
    graph, found = looked_at(expression)
    assert (dict(found.reordered), dict(found.hidden)) == ({}, {})
    assert not tally(graph).notes
    macs = sum(entry.macs for entry in ledger(graph).entries)
    assert macs > 0
    assert sum(entry.least_macs for entry in ledger(graph).entries) == macs
    assert gate_of(graph) is not None


@pytest.mark.parametrize("expression", REORDERED.values(), ids=REORDERED)
def test_the_gate_does_not_charge_products_whose_order_is_free(expression):
    graph, found = looked_at(expression)
    assert found.reordered
    assert not found.hidden
    entries = ledger(graph).entries
    assert sum(entry.least_macs for entry in entries) < sum(entry.macs for entry in entries)
    assert gate_of(graph) is not None
    assert any("another order" in note for note in tally(graph).notes)


@pytest.mark.parametrize("expression", HIDDEN.values(), ids=HIDDEN)
def test_there_is_no_gate_where_zeros_may_spare_work(expression):
    graph, found = looked_at(expression)
    assert found.hidden
    assert ledger(graph).may_hide_work
    assert gate_of(graph) is None
    assert any("there is no gate" in note for note in tally(graph).notes)


def test_labels_that_are_ignored_leave_no_gate():
    reference = "def run(x, target): return F.cross_entropy(x, target)"
    graph = concrete_graph(reference, {"x": "n m", "target": "n:int64"}, {"y": ""}, {"n": 64, "m": 32})
    assert gate_of(graph) is None


@pytest.mark.parametrize("name", ["mask", "bias"])
def test_a_mask_that_is_given_leaves_no_gate_and_a_bias_of_one_axis_does(name):
    reference = f"def run(x, {name}): return torch.softmax(x + {name}, -1)"
    graph = concrete_graph(reference, {"x": "n n", name: "n"}, {"y": "n n"}, N)
    assert (gate_of(graph) is None) == (name == "mask")
