"""Taking a bound apart: the parts add up to it, and each says why it is less than the whole."""

import pytest
from sol_builders import make_problem

from deep_agent.errors import InvalidInput
from deep_agent.problem.cards import A100, H200
from deep_agent.problem.dtype import DType
from deep_agent.sol.__main__ import analyse
from deep_agent.sol.breakdown import declared_breakdown
from deep_agent.sol.counting import declared
from deep_agent.sol.figures import figures
from deep_agent.sol.roofline import bound


def taken_apart(*args, device=None, **kwargs):
    found = analyse(make_problem(*args, **kwargs), device or H200.model(), want_graph=False)
    return found.bounds[0], found.breakdowns[0]


def test_the_tensors_add_up_to_the_bytes_that_move():
    strict, parts = taken_apart(
        "def run(x, w, unread): return x[:4] @ w.t()",
        {"x": "n 64:bfloat16", "w": "32 64:bfloat16", "unread": "n"},
        {"y": "4 32:bfloat16"},
        {"n": 8},
    )
    charged = {one.name: one.charged_bytes for one in parts.tensors}
    assert charged == {"x": 4 * 64 * 2, "w": 32 * 64 * 2, "unread": 0, "y": 4 * 32 * 2}
    assert sum(charged.values()) == strict.work.moved_bytes
    why = {one.name: one.why for one in parts.tensors}
    assert "part that the outputs need" in why["x"]
    assert why["unread"] == "no output depends on it"
    assert why["y"] == ""


def test_equal_contractions_are_one_line_and_add_up():
    strict, parts = taken_apart(
        "def run(x, w): return x @ w @ w @ w", {"x": "n 64", "w": "64 64"}, {"y": "n 64"}, {"n": 8}
    )
    (one,) = parts.contractions
    assert (one.n_calls, one.dtype) == (3, DType.FLOAT32)
    assert one.macs == sum(strict.work.macs.values()) == 3 * 8 * 64 * 64
    assert one.time_us == pytest.approx(parts.compute_us)
    assert max(parts.memory_us, parts.compute_us) == pytest.approx(strict.time_us)


def test_the_largest_contraction_comes_first():
    _, parts = taken_apart(
        "def run(x, w): return (x @ w) @ (w.t() @ w)", {"x": "n 64", "w": "64 64"}, {"y": "n 64"}, {"n": 8}
    )
    assert [one.macs for one in parts.contractions] == sorted((one.macs for one in parts.contractions), reverse=True)


def test_what_is_not_charged_is_said():
    _, parts = taken_apart("def run(x): return torch.exp(x) + 1", {"x": "n 64"}, {"y": "n 64"}, {"n": 8})
    said = " ".join(parts.not_charged)
    assert "512 elementwise and 512 special" in said
    assert "inside the reference" in said
    assert "launch" in said


def test_a_type_without_a_rate_is_shown_without_one():
    reference = "def run(x, w): return (x.to(torch.int16) @ w.to(torch.int16)).float()"
    _, parts = taken_apart(reference, {"x": "n 8:int16", "w": "8 8:int16"}, {"y": "n 8"}, {"n": 4}, device=A100.model())
    assert all(one.mac_per_s is None and one.time_us == 0 for one in parts.contractions)
    assert any("no known rate" in said for said in parts.not_charged)


def test_an_untraced_reference_shows_its_outputs_alone():
    problem = make_problem("def run(x, s): return x * s", {"x": "n 8", "s": "scalar"}, {"y": "n 8"}, {"n": 4})
    definition, sizes = problem.definition, {"n": 4}
    strict = bound(declared(definition, sizes).work, H200.model(), workload="w0", tier=3)
    parts = declared_breakdown(strict, H200.model(), definition, sizes)
    assert [(one.name, one.charged_bytes) for one in parts.tensors] == [("x", 0), ("y", 128)]
    assert "could not be traced" in parts.not_charged[0]
    assert figures(strict, H200.model(), None).unfused_us is None


def test_a_survey_goes_on_past_a_workload_that_fails():
    reference = """
    def run(x):
        if x.shape[0] == 5:
            raise ValueError("five")
        return x * 2
    """
    problem = make_problem(reference, {"x": "n 8"}, {"y": "n 8"}, {"n": 4}, more=({"n": 5}, {"n": 6}))
    found = analyse(problem, H200.model(), want_graph=False, keep_going=True)
    assert [one.workload for one in found.bounds] == ["w0", "w2"]
    assert [one.workload for one in found.breakdowns] == ["w0", "w2"]
    assert "ValueError: five" in found.failures["w1"]
    with pytest.raises(InvalidInput, match="five"):
        analyse(problem, H200.model(), want_graph=False)


def test_a_survey_of_nothing_but_failures_is_refused():
    with pytest.raises(InvalidInput, match="never"):
        analyse(
            make_problem("def run(x): raise ValueError('never')", {"x": "n 8"}, {"y": "n 8"}, {"n": 4}),
            H200.model(),
            want_graph=False,
            keep_going=True,
        )
