#include <cuda_runtime.h>
#include <tvm/ffi/extra/c_env_api.h>
#include <tvm/ffi/tvm_ffi.h>

#include <cstdint>
#include <cmath>
#include <vector>

using tvm::ffi::TensorView;

static void Run(TensorView input, TensorView output) {
  const int64_t rows = input.size(0), n = input.size(1);
  const float* x = static_cast<const float*>(input.data_ptr());
  float* y = static_cast<float*>(output.data_ptr());
  const DLDevice device = input.device();
  cudaStream_t stream = static_cast<cudaStream_t>(TVMFFIEnvGetStream(device.device_type, device.device_id));
  if (rows * n == 0) return;
  std::vector<float> a(rows * n), b(rows * n);
  cudaMemcpyAsync(a.data(), x, sizeof(float) * rows * n, cudaMemcpyDeviceToHost, stream);
  cudaStreamSynchronize(stream);
  for (int64_t i = 0; i < rows; ++i) {
    const float* in = a.data() + i * n;
    float *out = b.data() + i * n, peak = -INFINITY, sum = 0.0f;
    for (int64_t j = 0; j < n; ++j) peak = std::fmax(peak, in[j]);
    for (int64_t j = 0; j < n; ++j) sum += out[j] = std::exp(in[j] - peak);
    for (int64_t j = 0; j < n; ++j) out[j] /= sum;
  }
  cudaMemcpyAsync(y, b.data(), sizeof(float) * rows * n, cudaMemcpyHostToDevice, stream);
  cudaStreamSynchronize(stream);
}

TVM_FFI_DLL_EXPORT_TYPED_FUNC(run, Run);
