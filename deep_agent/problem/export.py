"""Owns writing our solutions so that the public benchmark accepts them; does not change what they compute."""

from string import Template

from deep_agent.errors import InvalidInput
from deep_agent.problem.solution import BuildSpec, CompileOptions, Language, Solution, SourceFile

_SHIM_PATH = "torch_shim.cpp"
_PACKAGE = "apache-tvm-ffi"
# ninja turns `$$` into `$`, and its shell then asks the installed package where its files are.
_INCLUDE = ("-I$$(tvm-ffi-config --includedir)", "-I$$(tvm-ffi-config --dlpack-includedir)")
_LINK = ("-L$$(tvm-ffi-config --libdir)", "-Wl,-rpath,$$(tvm-ffi-config --libdir)", "-ltvm_ffi")

_SHIM = Template("""\
// Lets torch's binding call the TVM-FFI function `$function`: tensors go as DLPack views, numbers by value.
#include <ATen/DLConvertor.h>
#include <torch/extension.h>
#include <tvm/ffi/c_api.h>

#include <stdexcept>
#include <vector>

extern "C" int __tvm_ffi_$function(void* self, const TVMFFIAny* args, int32_t num_args, TVMFFIAny* result);

namespace {

struct Views {
  std::vector<DLManagedTensor*> held;
  ~Views() {
    for (DLManagedTensor* view : held) view->deleter(view);
  }
};

TVMFFIAny pack(py::handle argument, Views& views) {
  TVMFFIAny packed{};
  if (THPVariable_Check(argument.ptr())) {
    views.held.push_back(at::toDLPack(THPVariable_Unpack(argument.ptr())));
    packed.type_index = kTVMFFIDLTensorPtr;
    packed.v_ptr = &views.held.back()->dl_tensor;
  } else if (py::isinstance<py::bool_>(argument)) {
    packed.type_index = kTVMFFIBool;
    packed.v_int64 = argument.cast<bool>();
  } else if (py::isinstance<py::int_>(argument)) {
    packed.type_index = kTVMFFIInt;
    packed.v_int64 = argument.cast<int64_t>();
  } else {
    packed.type_index = kTVMFFIFloat;
    packed.v_float64 = argument.cast<double>();
  }
  return packed;
}

void call(const py::args& arguments) {
  Views views;
  std::vector<TVMFFIAny> packed;
  for (py::handle argument : arguments) packed.push_back(pack(argument, views));
  TVMFFIAny result{};
  if (__tvm_ffi_$function(nullptr, packed.data(), static_cast<int32_t>(packed.size()), &result) != 0) {
    throw std::runtime_error("$function: the TVM-FFI call failed");
  }
}

}  // namespace

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) { module.def("$function", &call); }
""")


def solution_for_export(solution: Solution) -> Solution:
    """Give the solution in upstream's vocabulary; one that needs no change is returned as it is.

    `cpp` becomes `cuda_cpp`, the nearest language upstream knows. A `tvm-ffi` binding becomes
    `torch` with a shim source that forwards the call; it needs the apache-tvm-ffi package where it
    is built.

    Raises:
        InvalidInput: a native `tvm-ffi` solution that returns its outputs; the shim passes
            destinations only.
    """
    spec = solution.spec
    languages = tuple(
        dict.fromkeys(Language.CUDA_CPP if language is Language.CPP else language for language in spec.languages)
    )
    spec = spec.model_copy(update={"languages": languages})
    if spec.binding != "tvm-ffi":
        return solution if spec == solution.spec else solution.model_copy(update={"spec": spec})
    if spec.is_python:
        return solution.model_copy(update={"spec": spec.model_copy(update={"binding": "torch"})})
    if not spec.destination_passing_style:
        raise InvalidInput(
            f"solution {solution.name!r} returns its outputs through tvm-ffi, which has no export.",
            remedy="Write into destination arguments and set destination_passing_style.",
        )
    shim = SourceFile(path=_shim_path(solution), content=_SHIM.substitute(function=spec.entry_function))
    return solution.model_copy(update={"spec": _shimmed(spec, shim.path), "sources": (*solution.sources, shim)})


def _shimmed(spec: BuildSpec, path: str) -> BuildSpec:
    # Absent options mean upstream compiles with its bare flags; empty lists keep it so.
    options = spec.compile_options or CompileOptions(cflags=(), cuda_cflags=(), ld_flags=())
    return spec.model_copy(
        update={
            "binding": "torch",
            "entry_point": f"{path}::{spec.entry_function}",
            "dependencies": tuple(dict.fromkeys((*spec.dependencies, _PACKAGE))),
            "compile_options": options.model_copy(
                update={
                    "cflags": (*options.cflags, *_INCLUDE),
                    "cuda_cflags": (*options.cuda_cflags, *_INCLUDE),
                    "ld_flags": (*options.ld_flags, *_LINK),
                }
            ),
        }
    )


def _shim_path(solution: Solution) -> str:
    path = _SHIM_PATH
    taken = {source.path for source in solution.sources}
    while path in taken:
        path = f"x{path}"
    return path
