"""Makes correct softmax kernels that differ in machine code; `throughput.py` evaluates them.

On a processor they are schedules of the product's own lowering, drawn at random. On a CUDA device they are one CUDA
source with other constants. The judge knows equal machine code again, so each is built once here, beside the clock,
and one whose code was seen is passed over. That leaves compilers and headers in the system's file cache for everyone.
"""

import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from random import Random

from deep_agent.bootstrap import open_judge, open_search_bench
from deep_agent.evolution.candidates import NoSpace
from deep_agent.evolution.space import point_at, random_indices
from deep_agent.problem.solution import BuildSpec, CompileOptions, Solution, SourceFile

SOFTMAX = Path(__file__).resolve().parents[1] / "problems" / "softmax"
MOST_DRAWS = 1000

CUDA_SOFTMAX = """
#include <cuda_runtime.h>
#include <math_constants.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/extra/c_env_api.h>
#include <tvm/ffi/function.h>

constexpr int kThreads = THREADS;

struct Most { __device__ static float of(float a, float b) { return fmaxf(a, b); } };
struct Sum { __device__ static float of(float a, float b) { return a + b; } };

// Every thread of the block gets the result.
template <class Op>
__device__ float over_block(float value) {
  __shared__ float partial[kThreads / 32];
  for (int step = 16; step > 0; step /= 2) value = Op::of(value, __shfl_xor_sync(~0u, value, step));
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
  __syncthreads();
  value = partial[0];
  for (int warp = 1; warp < kThreads / 32; ++warp) value = Op::of(value, partial[warp]);
  return value;
}

__global__ void __launch_bounds__(kThreads) softmax(const float* __restrict__ x, float* __restrict__ y, long cols) {
  const float* in = x + blockIdx.x * cols;
  float* out = y + blockIdx.x * cols;
  float most = -CUDART_INF_F;
#pragma unroll AT_ONCE
  for (long c = threadIdx.x; c < cols; c += kThreads) most = fmaxf(most, in[c]);
  most = over_block<Most>(most);
  float sum = 0.0f;
#pragma unroll AT_ONCE
  for (long c = threadIdx.x; c < cols; c += kThreads) sum += expf(in[c] - most);
  const float scale = 1.0f / over_block<Sum>(sum);
#pragma unroll AT_ONCE
  for (long c = threadIdx.x; c < cols; c += kThreads) out[c] = expf(in[c] - most) * scale;
}

void Run(tvm::ffi::TensorView x, tvm::ffi::TensorView y) {
  auto stream = (cudaStream_t)TVMFFIEnvGetStream(x.device().device_type, x.device().device_id);
  softmax<<<x.size(0), kThreads, 0, stream>>>((const float*)x.data_ptr(), (float*)y.data_ptr(), x.size(1));
}
TVM_FFI_DLL_EXPORT_TYPED_FUNC(run, Run);
"""
THREADS = (128, 256, 512, 1024)
AT_ONCE = (1, 2, 3, 4, 6, 8)


def distinct_candidates(device: str, n: int) -> tuple[Solution, ...]:
    """Give n kernels whose machine code differs pairwise.

    Raises:
        SystemExit: one does not build, or there are not so many.
    """
    kept: dict[str, Solution] = {}
    with tempfile.TemporaryDirectory(prefix="throughput-made-") as home:
        judge = open_judge(Path(home))
        try:
            for solution in cuda_kernels() if device.startswith("cuda") else lowered_kernels(Path(home), device):
                built = judge.build(solution, device)
                if not built.is_built:
                    raise SystemExit(f"{solution.name} does not build: {built.diagnostics}")
                kept.setdefault(built.machine_code_hash, solution)
                if len(kept) == n:
                    return tuple(kept.values())
        finally:
            judge.close()
    raise SystemExit(f"only {len(kept)} kernels with machine code of their own for {device}, {n} were asked for")


def lowered_kernels(home: Path, device: str) -> Iterator[Solution]:
    """Lower schedules drawn from the problem's space, the same ones each time."""
    rng = Random(0)
    with open_search_bench(home, device) as bench:
        space = bench.space(SOFTMAX)
    if isinstance(space, NoSpace):
        raise SystemExit(space.reason)
    for _ in range(MOST_DRAWS):
        yield space.build(point_at(space.parameters, random_indices(space.parameters, rng)))


def cuda_kernels() -> Iterator[Solution]:
    """Write the CUDA kernel with every pair of constants."""
    spec = BuildSpec(
        languages=("cuda_cpp",), entry_point="softmax.cu::run", binding="tvm-ffi",
        compile_options=CompileOptions(cuda_cflags=("-O3",), ld_flags=()),
    )  # fmt: skip
    for threads, at_once in product(THREADS, AT_ONCE):
        text = CUDA_SOFTMAX.replace("THREADS;", f"{threads};").replace("AT_ONCE", str(at_once))
        yield Solution(
            name=f"softmax-{threads}-{at_once}", definition="softmax", author="benchmark", spec=spec,
            sources=(SourceFile(path="softmax.cu", content=text),),
        )  # fmt: skip
