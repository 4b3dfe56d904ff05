"""Which hidden shapes and values a solution meets before it is timed."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_harness_inputs import reference_of

from deep_agent.harness.answers import examination
from deep_agent.harness.answers.examination import hidden_cases, hidden_workloads
from deep_agent.harness.answers.inputs import DISTRIBUTIONS
from deep_agent.harness.arms.places import Host
from deep_agent.problem.workload import Workload

N_CASES = 6
VARYING = {name: {"type": "var"} for name in ("a", "b", "c")}
LISTED = Workload(uuid="listed", axes={"a": 4096, "b": 4096, "c": 4096})


def made(reference, workload=LISTED, seed=1):
    cases = hidden_cases(reference, [workload], Random(seed), Host(), n_cases=N_CASES)
    for case in cases:
        case.stage.close()
    return cases


def linear(**axes):
    return reference_of(
        {"x": {"shape": ["n", "k"], "dtype": "float32"}, "weight": {"shape": ["m", "k"], "dtype": "float32"}},
        body="    return x @ weight.T",
        axes={"n": {"type": "var"}} | {name: {"type": "const", "value": size} for name, size in axes.items()},
    )


@given(seed=st.integers(0, 2**32), n_axes=st.integers(1, 3))
def test_every_axis_reaches_beyond_a_block_in_its_turn(seed, n_axes):
    names = list(VARYING)[:n_axes]
    x = {"shape": names, "dtype": "float32"}
    definition = reference_of({"x": x}, axes={name: VARYING[name] for name in names}, outputs={"y": x}).definition
    workloads = list(hidden_workloads(definition, [LISTED], Random(seed)))[:N_CASES]
    assert all(max(one.axes[name] for one in workloads) > 64 for name in names)


@given(seed=st.integers(0, 2**32))
def test_what_varies_stays_small(seed):
    x = {"shape": list(VARYING), "dtype": "float32"}
    definition = reference_of({"x": x}, axes=VARYING, outputs={"y": x}).definition
    workloads = list(hidden_workloads(definition, [LISTED], Random(seed)))
    assert workloads
    assert all(definition.storage_bytes("x", definition.sizes(one.axes)) <= 4 * 2**20 for one in workloads)


def test_weights_come_as_large_as_they_are(monkeypatch):
    reference, workload = linear(m=2048, k=1024), Workload(uuid="listed", axes={"n": 4096})
    assert len(made(reference, workload)) == N_CASES
    monkeypatch.setattr(examination, "_MAX_CONSTANT_BYTES", 2 * 8 * 2**20)
    assert len(made(reference, workload)) == 2
    monkeypatch.setattr(examination, "_MAX_CONSTANT_BYTES", 8 * 2**20 - 1)
    assert not made(reference, workload)


def test_values_that_the_reference_refuses_stand_in_nobodys_way():
    x = {"shape": ["n", "m"], "dtype": "float32"}
    body = "    if bool((x * x == x).all()):\n        raise ValueError\n    return x + 0"
    cases = made(reference_of({"x": x}, body=body), Workload(uuid="listed", axes={"n": 4096}))
    assert len(cases) == N_CASES
    assert {case.name.rpartition("; ")[2] for case in cases} == {
        f"{one} values)" for one in DISTRIBUTIONS if one != "whole"
    }


def test_a_definition_of_one_shape_meets_every_kind_of_values():
    axes = {name: {"type": "const", "value": 64} for name in ("n", "m")}
    cases = made(reference_of({"x": {"shape": ["n", "m"], "dtype": "float32"}}, axes=axes), Workload(uuid="w", axes={}))
    kinds = Counter(case.name.rpartition("; ")[2] for case in cases)
    assert set(kinds.values()) == {1}
    assert len(kinds) == 5


@pytest.mark.parametrize("seed", range(5))
def test_no_case_comes_twice(seed):
    x = {"shape": ["n", "m"], "dtype": "float32"}
    names = [case.name for case in made(reference_of({"x": x}), Workload(uuid="w", axes={"n": 4096}), seed)]
    assert len(set(names)) == len(names) == N_CASES
