"""Loads torch. Owns the names of element types in a trace, and the stand-ins of types the format cannot name."""

import torch

from deep_agent.problem.dtype import DType
from deep_agent.sol.rawtrace import RawValue

_STAND_INS: dict[torch.dtype, DType] = {
    torch.uint8: DType.INT16,
    torch.uint16: DType.INT32,
    torch.uint32: DType.INT64,
    torch.uint64: DType.INT64,
    torch.complex32: DType.FLOAT32,
    torch.complex64: DType.FLOAT32,
    torch.complex128: DType.FLOAT64,
}
"""A type without a name -> one that holds its numbers, or the parts of a complex one; only values inside a run
have such types, and those cost nothing, so their width prices nothing."""
STAND_IN_NAMES = frozenset(str(dtype).removeprefix("torch.") for dtype in _STAND_INS)


class Untraceable(Exception):
    """The run left what an operation graph can say; the message says how."""


def dtype_name(dtype: torch.dtype) -> str:
    """Spell a torch dtype as the public format does, or as its stand-in.

    Raises:
        Untraceable: there is neither.
    """
    if dtype in _STAND_INS:
        return _STAND_INS[dtype].value
    name = plain_name(dtype)
    try:
        return DType(name).value
    except ValueError:
        raise Untraceable(f"element type {name} has no name in the public format") from None


def plain_name(dtype: torch.dtype) -> str:
    """Spell a torch dtype as torch does, without the module."""
    return str(dtype).removeprefix("torch.")


def torch_dtype(dtype: DType) -> torch.dtype:
    """Give torch's type of a named element type; both fp4 names mean the packed one."""
    name = "float4_e2m1fn_x2" if dtype is DType.FLOAT4_E2M1 else dtype.value
    found = getattr(torch, name)
    assert isinstance(found, torch.dtype)
    return found


def described(tensor: torch.Tensor) -> RawValue:
    """Describe a tensor for the trace."""
    try:
        return RawValue(shape=tuple(tensor.shape), dtype=dtype_name(tensor.dtype))
    except Untraceable:
        # Scratch that nobody reads may have any type; whoever looks it up is refused.
        return RawValue(shape=(0,), dtype=DType.FLOAT32.value)
