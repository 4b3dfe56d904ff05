"""Owns choosing the C++ text that generated kernels share; a kernel gets only the sections it uses.

The text is plain GNU C++17 on vector extensions; AVX, F16C and streaming stores sit behind the macros of the
instruction sets, so it builds for any processor.
"""

from collections.abc import Iterable

from deep_agent.lowering import prelude_math as maths
from deep_agent.lowering import prelude_storage as storage

_SECTIONS = {
    "halves": storage.HALVES, "float32": storage.FLOAT32, "bfloat16": storage.BFLOAT16, "float16": storage.FLOAT16, "int8": storage.INT8, "bool": storage.BOOL,
    "integers": storage.INTEGERS, "float32_scalar": storage.FLOAT32_SCALAR, "load": storage.LOAD, "store": storage.STORE, "larger": maths.LARGER,
    "maximum": maths.MAXIMUM, "sum": maths.SUM, "extreme": maths.EXTREME, "position": maths.POSITION, "exp": maths.EXP, "sigmoid": maths.SIGMOID,
    "tanh": maths.TANH, "erf": maths.ERF, "rounding": maths.ROUNDING, "roots": maths.ROOTS, "absolute": maths.ABSOLUTE, "library": maths.LIBRARY,
    "prefetch": maths.PREFETCH,
}  # fmt: skip
"""In the order they stand in a kernel: what is used comes before what uses it."""

_NEEDS = {
    "bfloat16": ("halves",), "float16": ("halves",), "maximum": ("larger",), "extreme": ("maximum",),
    "exp": ("larger",), "sigmoid": ("exp",), "tanh": ("exp",), "erf": ("exp",),
}  # fmt: skip


def prelude(sections: Iterable[str], *, lanes: int, exp: str) -> str:
    """Give the shared text with the named sections and what they need.

    Args:
        sections: keys of the table of sections.
        lanes: elements of a vector, 8 or 16.
        exp: which polynomial the exponential uses, `accurate` or `fast`.
    """
    wanted = set(sections)
    for section in tuple(wanted):
        wanted.update(_with_needs(section))
    text = storage.BASE + "".join(body for name, body in _SECTIONS.items() if name in wanted)
    told = {
        "@LANES@": str(lanes),
        "@IOTA@": ", ".join(map(str, range(lanes))),
        "@POLYNOMIAL@": maths.POLYNOMIALS[exp],
    }
    for mark, value in told.items():
        text = text.replace(mark, value)
    return text


def _with_needs(section: str) -> set[str]:
    found = {section}
    for need in _NEEDS.get(section, ()):
        found |= _with_needs(need)
    return found
