#include <cuda_runtime.h>
#include <tvm/ffi/extra/c_env_api.h>
#include <tvm/ffi/tvm_ffi.h>

#include <cstdint>

using tvm::ffi::TensorView;

__global__ void precise(const float* x, float* y, int64_t n) {
  x += blockIdx.x * n, y += blockIdx.x * n;
  float peak = -INFINITY;
  double sum = 0.0;
  for (int64_t j = threadIdx.x; j < n; j += 32) peak = fmaxf(peak, x[j]);
  for (int step = 16; step; step /= 2) peak = fmaxf(peak, __shfl_xor_sync(~0u, peak, step));
  for (int64_t j = threadIdx.x; j < n; j += 32) sum += exp(static_cast<double>(x[j] - peak));
  for (int step = 16; step; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
  for (int64_t j = threadIdx.x; j < n; j += 32) y[j] = static_cast<float>(exp(static_cast<double>(x[j] - peak)) / sum);
}

static void Run(TensorView input, TensorView output) {
  const int64_t rows = input.size(0), n = input.size(1);
  const float* x = static_cast<const float*>(input.data_ptr());
  float* y = static_cast<float*>(output.data_ptr());
  const DLDevice device = input.device();
  cudaStream_t stream = static_cast<cudaStream_t>(TVMFFIEnvGetStream(device.device_type, device.device_id));
  if (rows * n == 0) return;
  precise<<<rows, 32, 0, stream>>>(x, y, n);
}

TVM_FFI_DLL_EXPORT_TYPED_FUNC(run, Run);
