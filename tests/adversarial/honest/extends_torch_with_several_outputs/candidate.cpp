#include <torch/extension.h>

#include <tuple>

static std::tuple<torch::Tensor, torch::Tensor> run(const torch::Tensor& x, const torch::Tensor& mask) {
  const torch::Tensor z = x + mask;
  return {torch::softmax(z, -1), z.amax(-1)};
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.def("run", &run, "softmax and maximum of each row", py::call_guard<py::gil_scoped_release>());
}
