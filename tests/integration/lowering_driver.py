"""Builds a generated kernel with g++ and calls it on torch tensors through TVM-FFI."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import torch
import tvm_ffi

from deep_agent.lowering.cpp import lower
from deep_agent.lowering.expression import RowProgram
from deep_agent.lowering.rows import recognise
from deep_agent.lowering.schedule import Schedule
from deep_agent.problem.definition import Definition
from deep_agent.problem.problem import Problem
from deep_agent.sol.tracing import trace_reference

FLAGS = ("-O1", "-march=native", "-std=c++17", "-fPIC", "-shared", "-fopenmp", "-Wall", "-Werror")


def traced_program(problem: Problem) -> RowProgram:
    program = recognise(trace_reference(problem, problem.workloads[0]))
    assert isinstance(program, RowProgram), program
    return program


def built(source: str, digest: str, folder: Path, flags: tuple[str, ...] = FLAGS) -> Callable[..., object]:
    library = folder / f"{digest}.so"
    if not library.exists():
        text = folder / f"{digest}.cpp"
        text.write_text(source)
        include = tvm_ffi.libinfo.find_include_path()
        subprocess.run(["g++", *flags, "-I", include, str(text), "-o", str(library)], check=True)
    return tvm_ffi.load_module(str(library)).run


def kernel(program: RowProgram, schedule: Schedule, definition: Definition, folder: Path) -> Callable[..., object]:
    solution = lower(program, schedule, definition=definition, name="candidate")
    return built(solution.sources[0].content, solution.content_hash, folder)


def make_inputs(definition: Definition, sizes: dict[str, int], seed: int = 0) -> list[object]:
    generator = torch.Generator().manual_seed(seed)
    made: list[object] = []
    for name, spec in definition.inputs.items():
        shape, dtype = definition.shape(name, sizes), getattr(torch, spec.dtype.value)
        if spec.is_scalar:
            made.append(0.25)
        elif dtype is torch.int64:
            made.append(torch.randint(0, min(sizes.values()), shape, generator=generator))
        elif dtype is torch.bool:
            made.append(torch.rand(shape, generator=generator) < 0.7)
        else:
            made.append(torch.randn(shape, generator=generator).to(dtype))
    return made


def make_outputs(definition: Definition, sizes: dict[str, int]) -> list[torch.Tensor]:
    """Poisoned, so that a place left out shows."""
    return [
        torch.full(definition.shape(name, sizes), 99, dtype=getattr(torch, spec.dtype.value))
        for name, spec in definition.outputs.items()
    ]


def reference(definition: Definition, inputs: list[object]) -> tuple[torch.Tensor, ...]:
    """Run the reference; float32 inputs in float64, so that its own rounding does not count."""
    names: dict[str, object] = {}
    exec(definition.reference, names)
    wide = [x.double() if isinstance(x, torch.Tensor) and x.dtype is torch.float32 else x for x in inputs]
    results = names["run"](*wide)
    return results if isinstance(results, tuple) else (results,)


def worst_error(outputs: list[torch.Tensor], wanted: tuple[torch.Tensor, ...]) -> float:
    """The largest |x - y| / (1 + |y|); infinite where NaN or infinities differ."""
    worst = 0.0
    for got, want in zip(outputs, wanted, strict=True):
        assert got.shape == want.shape
        x, y = got.double(), want.double()
        same = (x == y) | (x.isnan() & y.isnan())
        error = torch.where(same, 0.0, (x - y).abs() / (1 + y.abs())).nan_to_num(nan=float("inf"))
        worst = max(worst, error.max().item() if error.numel() else 0.0)
    return worst
