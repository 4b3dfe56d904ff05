#include <cuda_runtime.h>
#include <tvm/ffi/extra/c_env_api.h>
#include <tvm/ffi/tvm_ffi.h>

#include <cstdint>

using tvm::ffi::TensorView;

static void Run(TensorView input, TensorView output) {
  const int64_t rows = input.size(0), n = input.size(1);
  const float* x = static_cast<const float*>(input.data_ptr());
  float* y = static_cast<float*>(output.data_ptr());
  const DLDevice device = input.device();
  cudaStream_t stream = static_cast<cudaStream_t>(TVMFFIEnvGetStream(device.device_type, device.device_id));
  if (rows * n == 0) return;
  (void)x, (void)y, (void)stream;
}

TVM_FFI_DLL_EXPORT_TYPED_FUNC(run, Run);
