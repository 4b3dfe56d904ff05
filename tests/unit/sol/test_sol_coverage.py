"""Coverage: every operation of the public benchmark's references traces, has a rule, and stays below an eager run."""

from math import prod

import pytest
from sol_builders import make_problem
from sol_operations import OPERATIONS

from deep_agent.problem.dtype import DType
from deep_agent.sol.counting import tally
from deep_agent.sol.tracing import ReferenceTracer


def traced(name):
    reference, inputs, outputs, axes = OPERATIONS[name]
    problem = make_problem(reference, inputs, outputs, axes, generator="make" if "def make" in reference else None)
    with ReferenceTracer(problem) as tracer:
        found = tracer.trace(problem.workloads[0])
        return problem, found, found.concrete_graph("probe")


def bytes_of(problem, names):
    sizes = problem.definition.sizes(problem.workloads[0].axes)
    return sum(problem.definition.storage_bytes(name, sizes) for name in names)


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_of_the_benchmark_has_a_rule_and_costs_no_more_than_eager_moves(name):
    problem, found, graph = traced(name)
    assert found.tier in {1, 2}, found.notes
    counted = tally(graph)
    assert not [note for note in counted.notes if "no rule" in note]
    assert 0 < counted.work.read_bytes <= bytes_of(problem, problem.definition.inputs)
    assert counted.work.written_bytes == bytes_of(problem, problem.definition.outputs)
    assert counted.work.moved_bytes <= eager_bytes(graph)


def eager_bytes(graph):
    """What operation after operation moves, views included: each reads its operands and writes its results."""
    values = [graph.value(out) for operation in graph.operations for out in operation.outputs]
    inputs = [graph.value(value) for value in graph.inputs.values()]
    handed_out = [graph.value(value) for value in graph.outputs.values()]
    return sum(prod(value.shape) * max(value.dtype.bits, 8) / 8 for value in (*values, *inputs, *handed_out))


def test_rates_are_those_of_the_operands():
    _, _, graph = traced("scaled product")
    assert set(tally(graph).work.macs) == {DType.FLOAT8_E4M3FN}
