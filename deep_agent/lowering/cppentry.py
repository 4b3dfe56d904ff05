"""Owns writing a kernel's door: the exported function that reads, checks and unpacks its arguments."""

import ast
import re

from deep_agent.errors import InvalidInput
from deep_agent.lowering.cppexpr import CPP_TYPES, axis_name, member, plain, size_text
from deep_agent.lowering.size import Size
from deep_agent.problem.axes import Axis, ConstAxis, ExprAxis, VarAxis
from deep_agent.problem.definition import Definition, TensorSpec
from deep_agent.problem.dtype import DType

_CODES = {
    DType.FLOAT32: ("kDLFloat", 32), DType.FLOAT16: ("kDLFloat", 16), DType.BFLOAT16: ("kDLBfloat", 16),
    DType.INT8: ("kDLInt", 8), DType.INT32: ("kDLInt", 32), DType.INT64: ("kDLInt", 64), DType.BOOL: ("kDLBool", 8),
}  # fmt: skip

_HELP = r"""
// Say what is wrong to the caller.
static int refuse(const char* message) {
  TVMFFIErrorSetRaisedFromCStr("ValueError", message);
  return -1;
}

// The tensor behind an argument, or null if it is none.
static const DLTensor* tensor_of(const TVMFFIAny& arg) {
  if (arg.type_index == kTVMFFIDLTensorPtr) return static_cast<const DLTensor*>(arg.v_ptr);
  if (arg.type_index != kTVMFFITensor) return nullptr;
  return reinterpret_cast<const DLTensor*>(reinterpret_cast<const char*>(arg.v_obj) + sizeof(TVMFFIObject));
}

// Whether a tensor lies densely in this processor's memory and has the rank and type a kernel was made for.
static bool is_dense(const DLTensor* t, int32_t rank, uint8_t code, uint8_t width) {
  if (t == nullptr || t->device.device_type != kDLCPU || t->ndim != rank) return false;
  if (t->dtype.code != code || t->dtype.bits != width || t->dtype.lanes != 1) return false;
  int64_t expected = 1, count = 1;
  for (int32_t d = 0; d < rank; ++d) count *= t->shape[d];
  if (t->strides == nullptr || count == 0) return true;
  for (int32_t d = rank - 1; d >= 0; --d) {
    if (t->shape[d] != 1 && t->strides[d] != expected) return false;
    expected *= t->shape[d];
  }
  return true;
}

template <class T> static T* data_of(const DLTensor* t) {
  return reinterpret_cast<T*>(static_cast<char*>(t->data) + t->byte_offset);
}
"""

_NUMBER = r"""
// A Python number, or false if the argument is none.
static bool number_of(const TVMFFIAny& arg, float& number) {
  if (arg.type_index == kTVMFFIFloat) number = static_cast<float>(arg.v_float64);
  else if (arg.type_index == kTVMFFIInt || arg.type_index == kTVMFFIBool) number = static_cast<float>(arg.v_int64);
  else return false;
  return true;
}
"""


def arguments_struct(definition: Definition) -> str:
    """Write the struct that a kernel's functions share: pointers, sizes of axes, numbers."""
    lines = []
    for name, spec in definition.inputs.items():
        lines.append(
            f"  float {member(name)};" if spec.is_scalar else f"  const {_cpp_type(name, spec)}* {member(name)};"
        )
    lines += [f"  {_cpp_type(name, spec)}* {member(name)};" for name, spec in definition.outputs.items()]
    lines += [f"  int64_t {axis_name(axis)};" for axis in definition.axes]
    return "\n".join(["struct Arguments {", *lines, "};"])


def _cpp_type(name: str, spec: TensorSpec) -> str:
    if spec.dtype not in CPP_TYPES:
        raise InvalidInput(f"tensor {name!r}: {spec.dtype.value} has no C++ form here.", remedy="Use the reference.")
    return CPP_TYPES[spec.dtype]


def entry_function(definition: Definition, *, fixed_sizes: dict[str, int] | None, n_loops: int) -> str:
    """Write the exported function.

    Args:
        definition: gives order, types and shapes of the arguments.
        fixed_sizes: where the kernel holds for one binding only, that binding.
        n_loops: how many `run_N` functions to call.
    """
    specs = {**definition.inputs, **definition.outputs}
    lines = [
        f'if (num_args != {len(specs)}) return refuse("{_name(definition)}: takes {len(specs)} arguments: inputs, then outputs");'
    ]
    lines.append("Arguments a;")
    bound: set[str] = set()
    for position, (name, spec) in enumerate(specs.items()):
        lines += (
            _scalar(definition, position, name) if spec.is_scalar else _tensor(definition, position, name, spec, bound)
        )
    lines += _axis_checks(definition, bound, fixed_sizes)
    for number in range(1, n_loops + 1):
        lines.append(f'if (!run_{number}(a)) return refuse("{_name(definition)}: out of memory for scratch rows");')
    lines += [
        "if (result != nullptr) { result->type_index = kTVMFFINone; result->zero_padding = 0; result->v_int64 = 0; }",
        "return 0;",
    ]
    has_scalars = any(spec.is_scalar for spec in specs.values())
    return "\n".join([
        (_HELP + (_NUMBER if has_scalars else "")).strip("\n"),
        "",
        "// The door: f(inputs..., outputs...), as TVM-FFI calls it.",
        'extern "C" __attribute__((visibility("default")))',
        "int __tvm_ffi_run(void*, const TVMFFIAny* args, int32_t num_args, TVMFFIAny* result) {",
        *(f"  {line}" for line in lines),
        "}",
    ])  # fmt: skip


def _name(definition: Definition) -> str:
    return "".join(
        character if character.isprintable() and character not in '"\\' else "_" for character in definition.name
    )


def _scalar(definition: Definition, position: int, name: str) -> list[str]:
    return [
        f'if (!number_of(args[{position}], a.{member(name)})) return refuse("{_name(definition)}: {member(name)} must be a number");'
    ]


def _tensor(definition: Definition, position: int, name: str, spec: TensorSpec, bound: set[str]) -> list[str]:
    shape = spec.shape or ()
    code, width = _CODES[spec.dtype]
    local = f"t{position}"
    label = f"{_name(definition)}: {member(name)}"
    wanted = f"{label} must be a dense {spec.dtype.value} tensor of shape [{', '.join(shape)}] in main memory"
    lines = [
        f"const DLTensor* const {local} = tensor_of(args[{position}]);",
        f'if (!is_dense({local}, {len(shape)}, {code}, {width})) return refuse("{wanted}");',
    ]
    for dim, token in enumerate(shape):
        if token.isdecimal():
            lines.append(
                f'if ({local}->shape[{dim}] != {token}) return refuse("{label} must have size {token} in dimension {dim}");'
            )
        elif token in bound:
            lines.append(
                f'if ({local}->shape[{dim}] != a.{axis_name(token)}) return refuse("{label} disagrees on axis {token}");'
            )
        else:
            bound.add(token)
            lines.append(f"a.{axis_name(token)} = {local}->shape[{dim}];")
    const = "const " if name in definition.inputs else ""
    lines.append(f"a.{member(name)} = data_of<{const}{CPP_TYPES[spec.dtype]}>({local});")
    return lines


def _axis_checks(definition: Definition, bound: set[str], fixed_sizes: dict[str, int] | None) -> list[str]:
    """Write what finds the axes that are no size of a tensor, and what checks the others."""
    missing = {axis: declared for axis, declared in definition.axes.items() if axis not in bound}
    lines = [f"a.{axis_name(axis)} = {each.value};" for axis, each in missing.items() if isinstance(each, ConstAxis)]
    for axis, declared in missing.items():
        if isinstance(declared, VarAxis):
            lines += _solved(definition, axis, bound)
    for axis, declared in definition.axes.items():
        wanted = [str(fixed_sizes[axis])] if fixed_sizes is not None else []
        size = _declared_size(declared)
        if axis in missing and isinstance(declared, ExprAxis):
            lines.append(f"a.{axis_name(axis)} = {size};")
        elif axis not in missing and size:
            wanted.append(size)
        message = f'return refuse("{_name(definition)}: axis {axis} has another size than it must have");'
        lines += [f"if (a.{axis_name(axis)} != {size}) {message}" for size in wanted]
    return lines


def _declared_size(axis: Axis) -> str:
    """Write the size an axis is declared with; empty for one that each call gives."""
    match axis:
        case ConstAxis(value=value):
            return str(value)
        case ExprAxis(expression=expression):
            return _over_arguments(expression)
        case _:
            return ""


def _solved(definition: Definition, axis: str, bound: set[str]) -> list[str]:
    """Find an axis from a size computed of it, taken as linear; the check of that size catches the rest."""
    known = bound | {name for name, declared in definition.axes.items() if isinstance(declared, ConstAxis)}
    for other, declared in definition.axes.items():
        if not isinstance(declared, ExprAxis) or other not in bound:
            continue
        names = {node.id for node in ast.walk(ast.parse(declared.expression)) if isinstance(node, ast.Name)}
        if axis in names and names - {axis} <= known:
            variable, text = f"a.{axis_name(axis)}", _over_arguments(declared.expression)
            return [
                f"{variable} = 0;",
                f"const int64_t {axis}_at_0 = {text};",
                f"{variable} = 1;",
                f"const int64_t {axis}_slope = {text} - {axis}_at_0;",
                f"{variable} = {axis}_slope == 0 ? 0 : (a.{axis_name(other)} - {axis}_at_0) / {axis}_slope;",
            ]
    raise InvalidInput(
        f"definition {definition.name!r}: axis {axis!r} can be read off no input or output.",
        remedy="Use the axis in a shape.",
    )


def _over_arguments(expression: str) -> str:
    return re.sub(r"\b(n_\w+)", r"a.\1", plain(size_text(Size(expression, 0))))
