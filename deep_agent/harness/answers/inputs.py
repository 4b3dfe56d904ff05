"""Makes inputs for a workload. Loads torch; takes its chance as a generator.

The `natural` distribution follows the public benchmark's rules (name heuristics included); the others are
ours: they stress what random normals do not. Scalars and tensors from files are the same in all of them.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

import torch

from deep_agent.errors import InvalidInput
from deep_agent.harness.answers.reference import Argument, Reference
from deep_agent.problem.definition import TensorSpec
from deep_agent.problem.dtype import DType
from deep_agent.problem.workload import CustomInput, SafetensorsInput, ScalarInput, Workload

Distribution = Literal["natural", "heavy", "rising", "cancelling", "whole"]
DISTRIBUTIONS: Final[tuple[Distribution, ...]] = ("natural", "heavy", "rising", "cancelling", "whole")


_DRAWN_NAMES: Final = re.compile(r"^(x_mask|text_mask|aspect_ratio_mask|drop_mask|attention_mask)$")
_ROTARY: Final = frozenset({"cos", "sin", "cos_cached", "sin_cached", "rope_cos", "rope_sin"})
_POSITIVE: Final = re.compile(r"(^|_)(rstd|std|variance|var)$")
_ROUTING: Final = frozenset({"attn_weights", "attention_weights", "routing_weights"})
_RECURRENT: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {"A_log": (-5.0, -1.0), "A": (-1.0, -0.001), "g": (-5.0, 0.0)}
)
_RANGES: Final[Mapping[DType, tuple[int, int]]] = MappingProxyType(
    {DType.INT8: (-128, 128), DType.INT16: (-1024, 1024), DType.INT32: (-1024, 1024), DType.INT64: (-1024, 1024)}
)


@dataclass(frozen=True, slots=True)
class Case:
    """One set of inputs to make."""

    workload: Workload
    distribution: Distribution = "natural"


def make_inputs(reference: Reference, case: Case, generator: torch.Generator) -> dict[str, Argument]:
    """Draw every input of a workload, in the definition's order, on the generator's device.

    Raises:
        InvalidInput: the generator function raises or gives other shapes, or a file input is asked for.
    """
    definition, workload = reference.definition, case.workload
    sizes = definition.sizes(workload.axes)
    custom = _custom_inputs(reference, case, generator)
    made: dict[str, Argument] = {}
    for name, spec in definition.inputs.items():
        match workload.inputs.get(name):
            case ScalarInput(value=value):
                made[name] = value
            case SafetensorsInput(path=path):
                raise InvalidInput(
                    f"workload {workload.uuid!r}: input {name!r} comes from {path!r}, which is read on CUDA devices only.",
                    remedy="Use a workload with random or custom inputs.",
                )
            case CustomInput():
                made[name] = _checked(custom, name, spec, definition.shape(name, sizes), workload)
            case _ if spec.is_scalar:
                made[name] = _draw(name, spec, (), generator).item()
            case _:
                drawn = _draw(name, spec, definition.shape(name, sizes), generator)
                made[name] = _stressed(drawn, name, spec, case.distribution, generator)
    return made


def _custom_inputs(reference: Reference, case: Case, generator: torch.Generator) -> dict[str, Argument]:
    workload = case.workload
    if not any(isinstance(descriptor, CustomInput) for descriptor in workload.inputs.values()):
        return {}
    scalars = {name: entry.value for name, entry in workload.inputs.items() if isinstance(entry, ScalarInput)}
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device).item())
    return reference.custom_inputs({**reference.definition.sizes(workload.axes), **scalars}, seed)


def _checked(
    custom: Mapping[str, Argument], name: str, spec: TensorSpec, shape: tuple[int, ...], workload: Workload
) -> Argument:
    value = custom.get(name)
    if value is None:
        raise InvalidInput(f"workload {workload.uuid!r}: the input generator gives no {name!r}.")
    if isinstance(value, torch.Tensor) and (tuple(value.shape) != shape or value.dtype != torch_dtype(spec.dtype)):
        raise InvalidInput(
            f"workload {workload.uuid!r}: the input generator gives {name!r} as {tuple(value.shape)} {value.dtype}, "
            f"declared {shape} {spec.dtype}."
        )
    return value.contiguous() if isinstance(value, torch.Tensor) else value


def torch_dtype(dtype: DType) -> torch.dtype:
    """Give torch's name of an element type."""
    found = getattr(torch, dtype.value, None)
    if not isinstance(found, torch.dtype):
        raise InvalidInput(f"dtype {dtype.value} is not known to this build of torch.")
    return found


def _draw(name: str, spec: TensorSpec, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Draw one tensor by the public benchmark's rules."""
    if spec.dtype in _RANGES:
        low, high = _RANGES[spec.dtype]
        return torch.randint(
            low, high, shape, generator=generator, dtype=torch_dtype(spec.dtype), device=generator.device
        )
    if spec.dtype is DType.BOOL:
        return torch.randint(0, 2, shape, generator=generator, device=generator.device).bool()
    if spec.dtype is DType.FLOAT64:
        raise InvalidInput(
            f"input {name!r}: random float64 inputs are not part of the format.", remedy="Use custom inputs."
        )
    normal = torch.randn(shape, generator=generator, device=generator.device)
    if spec.dtype in {DType.FLOAT8_E4M3FN, DType.FLOAT8_E5M2}:
        return normal.clamp(-2, 2).to(torch_dtype(spec.dtype))
    return _by_name(name, spec, normal, generator).to(torch_dtype(spec.dtype))


def _by_name(name: str, spec: TensorSpec, normal: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Apply the first name heuristic that matches; `normal` is a standard normal of the right shape."""
    for matches, shape_it in _HEURISTICS:
        if matches(name, spec, normal):
            return shape_it(name, normal, generator)
    return normal


def _stem(name: str, suffix: str) -> str:
    return re.sub(r"\d+$", "", name.removesuffix(suffix)) if name.endswith(suffix) else ""


def _says(spec: TensorSpec, *words: str) -> bool:
    return all(word in (spec.description or "").lower() for word in words)


def _is_causal_mask(name: str, spec: TensorSpec, x: torch.Tensor) -> bool:
    named = name in {"attention_mask", "causal_mask"} or _says(spec, "attention mask", "causal")
    return named and x.ndim >= 2 and x.shape[-1] == x.shape[-2]


def _is_weight(name: str, _spec: TensorSpec, x: torch.Tensor) -> bool:
    stem = re.sub(r"\d+$", "", name)
    suffixes = ("_weight", "_weights", "_proj", "_projs", "_weight_matrix")
    return x.ndim >= 2 and (stem == "weight" or stem.endswith(suffixes))


def _between(low: float, high: float, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.rand(x.shape, generator=generator, device=x.device) * (high - low) + low


def _rotary(name: str, x: torch.Tensor, _generator: torch.Generator) -> torch.Tensor:
    angle = x.clamp(-torch.pi, torch.pi)
    return angle.cos() if "cos" in name else angle.sin()


_Matches = Callable[[str, TensorSpec, torch.Tensor], bool]
_Shapes = Callable[[str, torch.Tensor, torch.Generator], torch.Tensor]
_HEURISTICS: Final[tuple[tuple[_Matches, _Shapes], ...]] = (
    (lambda n, _s, _x: _stem(n, "_weight").endswith("norm"), lambda _n, x, _g: torch.ones_like(x)),
    (lambda n, _s, _x: _stem(n, "_bias").endswith("norm"), lambda _n, x, _g: torch.zeros_like(x)),
    (_is_causal_mask, lambda _n, x, _g: torch.full_like(x, torch.finfo(torch.float32).min).triu(1)),
    (
        lambda n, s, _x: bool(_DRAWN_NAMES.match(n)) or (n.endswith("_mask") and _says(s, "binary")),
        lambda _n, x, g: torch.randint(0, 2, x.shape, generator=g, device=x.device).float(),
    ),
    (lambda n, _s, _x: n in _ROTARY, _rotary),
    (lambda n, _s, _x: bool(_POSITIVE.search(n)), lambda _n, x, _g: x.abs() + 0.1),
    (lambda n, _s, _x: n == "A_cumsum", lambda _n, x, g: _between(-0.1, 0.0, x, g).cumsum(-1)),
    (lambda n, _s, _x: n in _RECURRENT, lambda n, x, g: _between(*_RECURRENT[n], x, g)),
    (lambda n, s, _x: n in _ROUTING or _says(s, "softmax", "output"), lambda _n, x, _g: x.softmax(-1)),
    (_is_weight, lambda _n, x, _g: x / x.shape[-1] ** 0.5),
)


def _stressed(
    natural: torch.Tensor, name: str, spec: TensorSpec, distribution: Distribution, generator: torch.Generator
) -> torch.Tensor:
    """Turn a natural draw into another distribution; names with a meaning keep their natural one.

    But not where that is one number throughout, as weights and biases of a norm are: nobody would have to read them.
    """
    if distribution != "natural" and (_stem(name, "_weight").endswith("norm") or _stem(name, "_bias").endswith("norm")):
        noise = torch.randn(natural.shape, generator=generator, device=natural.device)
        return (natural.float() + 0.25 * noise).to(natural.dtype)
    meaningful = any(matches(name, spec, natural) for matches, _ in _HEURISTICS)
    if distribution == "natural" or meaningful or not spec.dtype.is_floating or natural.ndim == 0:
        return natural
    x = natural.float()
    match distribution:
        case "heavy":
            x = x * 4.0 * (1.0 + 8.0 * (x.abs() > 2.5))
        case "rising":
            x = x + torch.linspace(-6.0, 6.0, x.shape[-1], device=x.device)
        case "cancelling":
            x = x * 0.125 + (16.0 if natural.element_size() > 2 else 4.0)
        case "whole":
            x = (x > 0.3).float()
    return x.to(natural.dtype)
