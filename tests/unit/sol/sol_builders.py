"""Builds problems from a few words, and devices with round rates."""

import textwrap

from deep_agent.problem.bound import Work
from deep_agent.problem.device import Bandwidth, DeviceModel
from deep_agent.problem.dtype import DType
from deep_agent.problem.opgraph import OpGraph
from deep_agent.problem.problem import Problem
from deep_agent.sol.counting import Tally, tally
from deep_agent.sol.tracing import ReferenceTracer


def spec(words):
    """`"rows hidden:bfloat16"` is a tensor, `"scalar:float32"` a Python number."""
    shape, _, dtype = words.partition(":")
    return {"shape": None if shape == "scalar" else shape.split(), "dtype": dtype or "float32"}


def make_problem(reference, inputs, outputs, axes, *, consts=None, exprs=None, scalars=None, more=(), generator=None):
    declared = {name: {"type": "var"} for name in axes}
    declared |= {name: {"type": "const", "value": value} for name, value in (consts or {}).items()}
    declared |= {name: {"type": "expr", "expression": text} for name, text in (exprs or {}).items()}
    given = {name: {"type": "scalar", "value": value} for name, value in (scalars or {}).items()}
    return Problem.model_validate(
        {
            "definition": {
                "name": "probe",
                "axes": declared,
                "inputs": {name: spec(words) for name, words in inputs.items()},
                "outputs": {name: spec(words) for name, words in outputs.items()},
                "reference": "import math\nimport torch\nimport torch.nn.functional as F\n"
                + textwrap.dedent(reference),
                "custom_inputs_entrypoint": generator,
            },
            "workloads": [
                {"uuid": f"w{place}", "axes": sizes, "inputs": given} for place, sizes in enumerate((axes, *more))
            ],
        }
    )


def tallied(*args, **kwargs) -> Tally:
    """Trace a problem's first workload and count it."""
    return tally(concrete_graph(*args, **kwargs))


def concrete_graph(*args, **kwargs) -> OpGraph:
    problem = make_problem(*args, **kwargs)
    with ReferenceTracer(problem) as tracer:
        graph = tracer.trace(problem.workloads[0]).concrete_graph(problem.name)
    assert graph is not None
    return graph


def make_work(**parts) -> Work:
    return Work(**({"macs": {}, "other_flop": 0, "special_flop": 0, "read_bytes": 0, "written_bytes": 0} | parts))


def make_device(**parts) -> DeviceModel:
    bandwidth = Bandwidth(read_bytes_per_s=10e9, copy_bytes_per_s=16e9, triad_bytes_per_s=15e9)
    return DeviceModel(
        **(
            {
                "name": "cpu",
                "kind": "cpu",
                "bandwidth": bandwidth,
                "mac_per_s": {DType.FLOAT32: 50e9, DType.FLOAT64: 25e9, DType.INT8: 200e9},
                "last_level_cache_bytes": 2**20,
                "memory_bytes": 2**34,
                "bound_kind": "sheet",
                "how": {},
                "fingerprint": "f",
            }
            | parts
        )
    )
