"""Owns axis declarations and the arithmetic that binds them to sizes."""

import ast
import operator
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Discriminator, Field, StrictInt, Tag

from deep_agent.errors import InvalidInput
from deep_agent.problem.value import PublicRecord

MAX_AXIS = 2**48
"""Largest size an axis may take: far above any memory, far below where products lose meaning."""
MAX_EXPONENT = 64
"""Largest exponent in an axis expression; keeps `2**(10**6)` from being computed."""


class ConstAxis(PublicRecord):
    """An axis with one fixed size."""

    type: Literal["const"] = "const"
    value: Annotated[StrictInt, Field(ge=0)]
    description: str | None = None


class VarAxis(PublicRecord):
    """An axis whose size each workload gives."""

    type: Literal["var"] = "var"
    description: str | None = None


class ExprAxis(PublicRecord):
    """An axis computed from const axes, var axes and expressions declared before it."""

    type: Literal["expr"] = "expr"
    expression: Annotated[str, Field(min_length=1)]
    description: str | None = None


def _axis_tag(raw: object) -> str:
    """Choose the variant of an axis; upstream's union has no discriminator, so keys decide."""
    if isinstance(raw, PublicRecord):
        return str(getattr(raw, "type", "var"))
    if not isinstance(raw, Mapping):
        return "var"
    declared = raw.get("type")
    if declared in {"const", "var", "expr"}:
        return str(declared)
    if "value" in raw:
        return "const"
    return "expr" if "expression" in raw else "var"


Axis = Annotated[
    Annotated[ConstAxis, Tag("const")] | Annotated[VarAxis, Tag("var")] | Annotated[ExprAxis, Tag("expr")],
    Discriminator(_axis_tag),
]

_BINARY: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: lambda left, right: Fraction(left // right),
    ast.Mod: operator.mod,
}


def evaluate_expression(expression: str, sizes: Mapping[str, int]) -> int:
    """Compute an axis expression over known sizes; the result is exact and integral.

    The grammar is numbers, names, `+ - * / // % **`, unary signs and parentheses.

    Raises:
        InvalidInput: unknown name, other syntax, a fraction, a division by zero, or a size
            outside [0, MAX_AXIS].
    """
    try:
        tree = ast.parse(expression, mode="eval")
        exact = _evaluate(tree.body, sizes)
    except (SyntaxError, ArithmeticError, RecursionError, ValueError) as error:
        raise InvalidInput(f"axis expression {expression!r} cannot be computed: {error}.") from error
    if exact.denominator != 1:
        raise InvalidInput(f"axis expression {expression!r} gives {exact}, which is not a whole number.")
    if not 0 <= exact <= MAX_AXIS:
        raise InvalidInput(f"axis expression {expression!r} gives {exact}, outside 0 to {MAX_AXIS}.")
    return int(exact)


def _evaluate(node: ast.expr, sizes: Mapping[str, int]) -> Fraction:
    match node:
        case ast.Constant(value=number):
            return _number(number)
        case ast.Name(id=name):
            return _size(name, sizes)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=inner):
            magnitude = _evaluate(inner, sizes)
            return -magnitude if isinstance(sign, ast.USub) else magnitude
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_evaluate(left, sizes), _evaluate(right, sizes))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _capped(_BINARY[type(op)](_evaluate(left, sizes), _evaluate(right, sizes)))
        case _:
            raise InvalidInput(f"axis expression holds {ast.unparse(node)!r}, which is not arithmetic on axes.")


def _number(constant: object) -> Fraction:
    if isinstance(constant, bool) or not isinstance(constant, int | float):
        raise InvalidInput(f"axis expression holds {constant!r}, which is no number.")
    return _capped(Fraction(constant))


def _size(name: str, sizes: Mapping[str, int]) -> Fraction:
    if name not in sizes:
        raise InvalidInput(f"axis expression names {name!r}, which is not declared before it.")
    return Fraction(sizes[name])


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1 or abs(exponent) > MAX_EXPONENT:
        raise InvalidInput(f"axis expression has exponent {exponent}; use a whole number up to {MAX_EXPONENT}.")
    return _capped(base ** int(exponent))


def _capped(number: Fraction) -> Fraction:
    # The denominator is capped too: nested powers of a fraction grow without ever growing large.
    if abs(number) > MAX_AXIS or number.denominator > MAX_AXIS:
        raise InvalidInput(f"axis expression passes through a number outside 1/{MAX_AXIS} to {MAX_AXIS}.")
    return number
