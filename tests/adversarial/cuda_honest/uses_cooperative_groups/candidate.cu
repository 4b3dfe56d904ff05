#include <cuda_runtime.h>
#include <tvm/ffi/extra/c_env_api.h>
#include <tvm/ffi/tvm_ffi.h>

#include <cstdint>
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>

using tvm::ffi::TensorView;

namespace cg = cooperative_groups;

__global__ void tiled(const float* x, float* y, int64_t rows, int64_t n) {
  auto tile = cg::tiled_partition<32>(cg::this_thread_block());
  const int64_t row = blockIdx.x * 8 + tile.meta_group_rank();
  if (row >= rows) return;
  x += row * n, y += row * n;
  float peak = -INFINITY, sum = 0.0f;
  for (int64_t j = tile.thread_rank(); j < n; j += 32) peak = fmaxf(peak, x[j]);
  peak = cg::reduce(tile, peak, cg::greater<float>());
  for (int64_t j = tile.thread_rank(); j < n; j += 32) sum += expf(x[j] - peak);
  sum = cg::reduce(tile, sum, cg::plus<float>());
  for (int64_t j = tile.thread_rank(); j < n; j += 32) y[j] = expf(x[j] - peak) / sum;
}

static void Run(TensorView input, TensorView output) {
  const int64_t rows = input.size(0), n = input.size(1);
  const float* x = static_cast<const float*>(input.data_ptr());
  float* y = static_cast<float*>(output.data_ptr());
  const DLDevice device = input.device();
  cudaStream_t stream = static_cast<cudaStream_t>(TVMFFIEnvGetStream(device.device_type, device.device_id));
  if (rows * n == 0) return;
  tiled<<<(rows + 7) / 8, 256, 0, stream>>>(x, y, rows, n);
}

TVM_FFI_DLL_EXPORT_TYPED_FUNC(run, Run);
