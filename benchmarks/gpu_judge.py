"""Measures the judge on a CUDA device: fixed cost, equal arms, a known slow-down, controls. `python benchmarks/gpu_judge.py`.

Kernels and problems are small and lie in this file, so that what is measured is the judge. Every part prints its
figure and the rule it is held against; `--out FILE` keeps all of it as JSON with clocks and versions.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

from machine import machine

from deep_agent.evolution.gate import is_beyond, noise_reach_log
from deep_agent.harness.client import JudgeProcess
from deep_agent.problem.evaluation import Evaluation, EvaluationRequest
from deep_agent.problem.solution import BuildSpec, CompileOptions, Solution, SourceFile

COPY_SCALE = """
#include <cuda_runtime.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/extra/c_env_api.h>
#include <tvm/ffi/function.h>

// Multiply by two; the first EXTRA elements once more, to be slower by a known share.
__global__ void scale(const float4* x, float4* y, long n, long extra) {
  const long i = blockIdx.x * (long)blockDim.x + threadIdx.x;
  if (i >= n + extra) return;
  const long at = i < n ? i : i - n;
  float4 v = x[at];
  v.x *= 2; v.y *= 2; v.z *= 2; v.w *= 2;
  y[at] = v;
}

void Run(tvm::ffi::TensorView x, tvm::ffi::TensorView y) {
  auto stream = (cudaStream_t)TVMFFIEnvGetStream(x.device().device_type, x.device().device_id);
  const long n = x.size(0) * x.size(1) / 4, extra = (long)(n * EXTRA);
  scale<<<(n + extra + 255) / 256, 256, 0, stream>>>((const float4*)x.data_ptr(), (float4*)y.data_ptr(), n, extra);
}
TVM_FFI_DLL_EXPORT_TYPED_FUNC(run, Run);
"""
SCALE_REFERENCE = "def run(x):\n    return x * 2.0\n"
GATHER_REFERENCE = (
    "import torch\n\n\ndef run(indices, table):\n    return torch.nn.functional.embedding(indices, table)\n"
)
_TRIAL_ROWS = 16384
GATHER_INPUTS = """

def inputs(axes, device):
    import torch
    indices = torch.randint(0, axes["vocabulary"], (axes["tokens"],), device=device)
    return {"indices": indices, "table": torch.randn(axes["vocabulary"], axes["width"], device=device).bfloat16()}
"""
GEMM_REFERENCE = """import torch


def run(x, weight, bias):
    return torch.nn.functional.gelu(torch.addmm(bias, x, weight), approximate="tanh")
"""
GEMM_LIBRARY = """import torch


def run(x, weight, bias):
    return torch._addmm_activation(bias, x, weight, use_gelu=True)
"""


def tensor(*shape: str, dtype: str = "float32") -> dict[str, object]:
    """Declare a tensor."""
    return {"shape": list(shape), "dtype": dtype}


def write_problem(folder: Path, definition: dict[str, object], axes: dict[str, int], inputs: dict[str, object]) -> Path:
    """Write a problem with one workload."""
    folder.mkdir()
    (folder / "definition.json").write_text(json.dumps(definition))
    workload = {"uuid": "one", "axes": axes, "inputs": inputs}
    (folder / "workload.jsonl").write_text(json.dumps(workload) + "\n")
    return folder


def scale_problem(folder: Path, rows: int) -> Path:
    """Write the memory-bound problem: y = 2 x."""
    definition = {
        "name": "scale", "axes": {"rows": {"type": "var"}, "cols": {"type": "const", "value": 4096}},
        "inputs": {"x": tensor("rows", "cols")}, "outputs": {"y": tensor("rows", "cols")}, "reference": SCALE_REFERENCE,
    }  # fmt: skip
    return write_problem(folder, definition, {"rows": rows}, {})


def lasting(bench: "Bench", home: Path, kernel_us: float) -> Path:
    """Write the memory-bound problem in the size that takes this long on the device at hand."""
    found = bench.judged(scale_problem(home / "trial", _TRIAL_ROWS), scale(0), None, "screen")
    taken = found.workloads[0].candidate
    assert taken is not None
    return scale_problem(home / "scale", max(int(_TRIAL_ROWS * kernel_us / taken.time_us) // 64, 1) * 64)


def scale(number: int, extra: float = 0.0) -> Solution:
    """Write the kernel; equal but for a comment, so that each is judged on its own."""
    text = COPY_SCALE.replace("EXTRA", repr(extra)) + f"// copy {number}\n"
    spec = BuildSpec(
        languages=("cuda_cpp",), entry_point="scale.cu::run", binding="tvm-ffi",
        compile_options=CompileOptions(cuda_cflags=("-O3",), ld_flags=()),
    )  # fmt: skip
    return Solution(
        name="scale",
        definition="scale",
        author="benchmark",
        spec=spec,
        sources=(SourceFile(path="scale.cu", content=text),),
    )


def python(definition: str, text: str) -> Solution:
    """Write a solution that returns its results."""
    spec = BuildSpec(languages=("pytorch",), entry_point="solution.py::run", destination_passing_style=False)
    return Solution(
        name=definition,
        definition=definition,
        author="benchmark",
        spec=spec,
        sources=(SourceFile(path="solution.py", content=text),),
    )


Keep = Callable[[dict[str, object]], None]
"""Takes what a part has found so far: a run may be cut."""


class Bench:
    """A judge, and the device it judges on."""

    def __init__(self, judge: JudgeProcess, device: str) -> None:
        self.judge = judge
        self.device = device

    def judged(self, folder: Path, solution: Solution, incumbent: Solution | None, profile: str = "gate") -> Evaluation:
        """Judge a solution, which has to pass."""
        request = EvaluationRequest(
            problem_dir=str(folder), solution=solution, device=self.device, profile=profile, incumbent=incumbent
        )
        found = self.judge.evaluate(request)
        if not found.passed:
            raise SystemExit(f"{solution.name}: {found.status} {found.message}")
        return found


def fixed_cost(bench: Bench, folder: Path, n: int) -> dict[str, object]:
    """Seconds the device is held beside timing, over solutions that are built already."""
    held = []
    for number in range(n):
        found = bench.judged(folder, scale(number), None, "screen")
        held.append(found.device_s - found.timed_s)
    held.sort()
    print(f"fixed cost: median {median(held):.3f} s, from {held[0]:.3f} to {held[-1]:.3f} over {n} (aim: 0.4)")
    return {"n": n, "median_s": median(held), "least_s": held[0], "most_s": held[-1]}


def gate_says(found: Evaluation) -> bool:
    """Whether the commit gate would call the candidate better than the incumbent."""
    assert found.gain is not None
    assert found.noise is not None
    return is_beyond(found.gain, noise_reach_log(found.noise))


def gated(bench: Bench, folder: Path, n: int, extra: float, words: str, keep: Keep) -> dict[str, object]:
    """Judge the kernel n times against an incumbent that is slower by `extra`; count what the gate calls better."""
    gains: list[float] = []
    kernel_us: list[float] = []
    called = []
    incumbent = scale(-1, extra)
    counted: dict[str, object] = {}
    for number in range(n):
        found = bench.judged(folder, scale(number % 4), incumbent)
        assert found.gain is not None
        called.append(gate_says(found))
        gains.append(found.gain.value)
        kernel_us += [one.candidate.time_us for one in found.workloads if one.candidate is not None]
        print(f"\r  {number + 1} of {n}: {sum(called)} called better", end="", file=sys.stderr, flush=True)
        counted = {
            "n": number + 1,
            "called_better": sum(called),
            "kernel_us": median(kernel_us),
            "gain_least": min(gains),
            "gain_median": median(gains),
            "gain_most": max(gains),
            "gains": [round(gain, 5) for gain in gains],
        }
        keep(counted)
    print(file=sys.stderr)
    spread = f"gains {min(gains):.4f} / {median(gains):.4f} / {max(gains):.4f} (least, median, most)"
    print(f"{words}: {sum(called)} of {n} called better; {spread}; {median(kernel_us):.0f} us a call")
    return counted


def control(bench: Bench, folder: Path, solution: Solution, twin: Solution, words: str) -> dict[str, object]:
    """Judge a library call against itself."""
    found = bench.judged(folder, solution, twin, "verify")
    gain, library = found.gain, found.speedup
    assert gain is not None
    assert library is not None
    print(
        f"{words} against itself: {gain.value:.4f} [{gain.low:.4f}, {gain.high:.4f}] (0.97 to 1.03); "
        f"against {found.workloads[0].baseline_name}: {library.value:.4f} [{library.low:.4f}, {library.high:.4f}]"
    )
    return {"gain": gain.model_dump(), "speedup": library.model_dump(), "baseline": found.workloads[0].baseline_name}


def controls(bench: Bench, home: Path) -> dict[str, object]:
    """An embedding gather, and a matrix product with bias and GELU through cuBLASLt."""
    gather = {
        "name": "gather", "custom_inputs_entrypoint": "inputs",
        "axes": {"tokens": {"type": "var"}, "vocabulary": {"type": "var"}, "width": {"type": "var"}},
        "inputs": {"indices": tensor("tokens", dtype="int64"), "table": tensor("vocabulary", "width", dtype="bfloat16")},
        "outputs": {"rows": tensor("tokens", "width", dtype="bfloat16")}, "reference": GATHER_REFERENCE + GATHER_INPUTS,
    }  # fmt: skip
    bf16 = {"dtype": "bfloat16"}
    gemm = {
        "name": "gemm", "axes": {"m": {"type": "var"}, "n": {"type": "const", "value": 4096}, "k": {"type": "const", "value": 4096}},
        "inputs": {"x": tensor("m", "k", **bf16), "weight": tensor("k", "n", **bf16), "bias": tensor("n", **bf16)},
        "outputs": {"y": tensor("m", "n", **bf16)}, "reference": GEMM_REFERENCE,
    }  # fmt: skip
    custom = {"indices": {"type": "custom"}, "table": {"type": "custom"}}
    g = write_problem(home / "gather", gather, {"tokens": 65536, "vocabulary": 128256, "width": 1024}, custom)
    m = write_problem(home / "gemm", gemm, {"m": 4096}, {})
    return {
        "gather": control(
            bench,
            g,
            python("gather", GATHER_REFERENCE),
            python("gather", GATHER_REFERENCE + "# twin\n"),
            "embedding gather",
        ),
        "gemm": control(
            bench,
            m,
            python("gemm", GEMM_LIBRARY),
            python("gemm", GEMM_LIBRARY + "# twin\n"),
            "GEMM + GELU through cuBLASLt",
        ),
    }


def main() -> int:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--parts", default="fixed,equal,slower,controls")
    parser.add_argument("--pairs", type=int, default=200, help="equal pairs")
    parser.add_argument("--tries", type=int, default=100, help="tries at the known slow-down")
    parser.add_argument("--kernel-us", type=float, default=200.0, help="what the memory-bound kernel takes")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found: dict[str, object] = {"before": machine(options.device)}

    def keep_as(name: str) -> Keep:
        def keep(part: dict[str, object]) -> None:
            found[name] = part
            if options.out:
                options.out.write_text(json.dumps(found, indent=1) + "\n")

        return keep

    with tempfile.TemporaryDirectory(prefix="gpu-judge-") as home:
        judge = JudgeProcess(Path(home) / "cache", fingerprint="benchmark", hidden=())
        bench = Bench(judge, options.device)
        folder = lasting(bench, Path(home), options.kernel_us)
        parts: dict[str, Callable[[Keep], dict[str, object]]] = {
            "fixed": lambda _: fixed_cost(bench, folder, 24),
            "equal": lambda keep: gated(bench, folder, options.pairs, 0.0, "equal arms (at most 1 % wrongly)", keep),
            "slower": lambda keep: gated(
                bench, folder, options.tries, 0.01, "incumbent 1 % slower (at least 80 %)", keep
            ),
            "controls": lambda _: controls(bench, Path(home)),
        }
        for number in range(4):
            bench.judged(folder, scale(number), None, "screen")
        for name in options.parts.split(","):
            keep = keep_as(name)
            part = parts[name](keep)
            found["after"] = machine(options.device)
            keep(part)
        judge.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
