"""Valid values by default; a test overrides only what it is about."""

from typing import Any

from deep_agent.htdag.goal import Goal
from deep_agent.problem.bound import SolBound, SolScore, Work
from deep_agent.problem.definition import Definition
from deep_agent.problem.device import Bandwidth, DeviceModel
from deep_agent.problem.dtype import DType
from deep_agent.problem.evaluation import (
    ArmTiming,
    Baseline,
    Characterization,
    Evaluation,
    Ratio,
    WorkloadEvaluation,
)
from deep_agent.problem.problem import Problem
from deep_agent.problem.solution import BuildSpec, Language, Solution, SourceFile
from deep_agent.problem.trace import Correctness, EvaluationStatus
from deep_agent.problem.workload import Workload

DOUBLE_CPP = """#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/function.h>

void double_it(tvm::ffi::TensorView x, tvm::ffi::TensorView y) {
  const float* from = static_cast<const float*>(x.data_ptr());
  float* to = static_cast<float*>(y.data_ptr());
  for (int64_t i = 0; i < x.numel(); ++i) to[i] = 2.0f * from[i];
}

TVM_FFI_DLL_EXPORT_TYPED_FUNC(double_it, double_it);
"""


def make_definition(**changes: Any) -> Definition:
    """`y = 2 x` over (rows, width) float32."""
    fields: dict[str, Any] = {
        "name": "double",
        "description": "Doubles every element.",
        "axes": {"rows": {"type": "var"}, "width": {"type": "const", "value": 64}},
        "inputs": {"x": {"shape": ["rows", "width"], "dtype": "float32"}},
        "outputs": {"y": {"shape": ["rows", "width"], "dtype": "float32"}},
        "reference": "def run(x):\n    return x * 2\n",
    }
    return Definition.model_validate(fields | changes)


def make_workload(uuid: str = "w1", rows: int = 8, **changes: Any) -> Workload:
    return Workload.model_validate({"uuid": uuid, "axes": {"rows": rows}} | changes)


def make_problem(*workloads: Workload, **changes: Any) -> Problem:
    return Problem(definition=make_definition(**changes), workloads=workloads or (make_workload(),))


def make_solution(content: str = DOUBLE_CPP, **changes: Any) -> Solution:
    """A native solution of `make_definition()`; a changed content changes its hash."""
    fields: dict[str, Any] = {
        "name": "double-v1",
        "definition": "double",
        "author": "schedule",
        "spec": BuildSpec(languages=(Language.CPP,), entry_point="kernel.cpp::double_it", binding="tvm-ffi"),
        "sources": (SourceFile(path="kernel.cpp", content=content),),
    }
    return Solution.model_validate(fields | changes)


def make_python_solution(**changes: Any) -> Solution:
    """The library call of `make_definition()`, destination passing."""
    fields: dict[str, Any] = {
        "name": "double-eager-out",
        "spec": BuildSpec(languages=(Language.PYTORCH,), entry_point="main.py::run"),
        "sources": (
            SourceFile(path="main.py", content="import torch\n\n\ndef run(x, y):\n    torch.mul(x, 2, out=y)\n"),
        ),
    }
    return make_solution(**(fields | changes))


def make_ratio(value: float = 1.5, spread: float = 0.03, n_rounds: int = 40) -> Ratio:
    return Ratio(value=value, low=value * (1 - spread), high=value * (1 + spread), n_rounds=n_rounds)


def make_bound(workload: str = "w1", time_us: float = 10.0, **changes: Any) -> SolBound:
    fields: dict[str, Any] = {
        "workload": workload,
        "time_us": time_us,
        "limiter": "memory",
        "work": Work(macs={}, other_flop=2e5, special_flop=0, read_bytes=1e5, written_bytes=1e5),
        "tier": 1,
        "bound_kind": "measured",
        "notes": ("copy rate",),
    }
    return SolBound.model_validate(fields | changes)


def make_device(**changes: Any) -> DeviceModel:
    fields: dict[str, Any] = {
        "name": "cpu",
        "kind": "cpu",
        "bandwidth": Bandwidth(read_bytes_per_s=1.2e10, copy_bytes_per_s=1.5e10, triad_bytes_per_s=1.6e10),
        "mac_per_s": {DType.FLOAT32: 4.5e10},
        "last_level_cache_bytes": 32 * 2**20,
        "memory_bytes": 16 * 2**30,
        "bound_kind": "measured",
        "how": {"copy_bytes_per_s": "best of 5 copies of 256 MiB"},
        "fingerprint": "f" * 16,
    }
    return DeviceModel.model_validate(fields | changes)


def make_workload_evaluation(uuid: str = "w1", **changes: Any) -> WorkloadEvaluation:
    fields: dict[str, Any] = {
        "uuid": uuid,
        "status": EvaluationStatus.PASSED,
        "correctness": Correctness(max_relative_error=1e-6, max_absolute_error=2e-7),
        "candidate": ArmTiming(time_us=20.0, cpu_us=19.5),
        "baseline": ArmTiming(time_us=30.0, cpu_us=29.0),
        "baseline_name": "eager_out",
        "speedup": make_ratio(),
        "noise": make_ratio(1.0, 0.01),
        "score": SolScore(raw=0.667, clamped=0.667, below_sol=False, baseline_at_sol=False),
    }
    return WorkloadEvaluation.model_validate(fields | changes)


def make_evaluation(*workloads: WorkloadEvaluation, **changes: Any) -> Evaluation:
    """A passed verification of `make_solution()`, 1.5 times as fast as the baseline."""
    fields: dict[str, Any] = {
        "problem": "double",
        "solution_hash": make_solution().content_hash,
        "status": EvaluationStatus.PASSED,
        "profile": "verify",
        "workloads": workloads or (make_workload_evaluation(),),
        "speedup": make_ratio(),
        "noise": make_ratio(1.0, 0.01),
        "device": "cpu",
        "device_fingerprint": "f" * 16,
        "device_s": 3.0,
        "build_s": 2.0,
        "confinement": ("process group killed on timeout", "no network namespace on this machine"),
        "seed": "00ff",
    }
    return Evaluation.model_validate(fields | changes)


def make_characterization(**changes: Any) -> Characterization:
    fields: dict[str, Any] = {
        "problem": "double",
        "device": "cpu",
        "baselines": (
            Baseline(name="eager", time_us={"w1": 33.0}),
            Baseline(name="eager_out", solution=make_python_solution(), time_us={"w1": 30.0}),
            Baseline(name="torch_compile", time_us={}, failure="no Python headers on this machine"),
        ),
        "best": {"w1": "eager_out"},
        "noise": make_ratio(1.0, 0.01),
        "device_s": 2.0,
    }
    return Characterization.model_validate(fields | changes)


def make_goal(**changes: Any) -> Goal:
    return Goal.model_validate({"problems": ("problems/double",)} | changes)
