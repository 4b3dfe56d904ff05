"""Owns writing nodes as C++ expressions, and which shared sections they need."""

import ast
import math
import re
from collections.abc import Callable, Mapping

from deep_agent.errors import InvalidInput
from deep_agent.lowering.expression import Kind, Node, NodeId, RowLoop
from deep_agent.lowering.size import Size
from deep_agent.problem.dtype import DType

CPP_TYPES = {
    DType.FLOAT32: "float", DType.BFLOAT16: "bfloat16", DType.FLOAT16: "float16", DType.INT8: "int8_t",
    DType.BOOL: "bool", DType.INT64: "int64_t", DType.INT32: "int32_t",
}  # fmt: skip
"""Element types of tensors, as the shared text names them."""

_TYPE_SECTIONS = {
    DType.FLOAT32: "float32", DType.BFLOAT16: "bfloat16", DType.FLOAT16: "float16", DType.INT8: "int8",
    DType.BOOL: "bool", DType.INT64: "integers", DType.INT32: "integers",
}  # fmt: skip

_INFIX = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">",
    "ge": ">=", "and": "&", "or": "|",
}  # fmt: skip

_FUNCTIONS = {
    "exp": ("exp_any", "exp"), "exp_falling": ("exp_falling", "exp"), "log": ("log_any", "library"),
    "sqrt": ("root", "roots"), "sigmoid": ("sigmoid", "sigmoid"), "tanh": ("tanh_any", "tanh"),
    "erf": ("erf_any", "erf"), "sin": ("sin_any", "library"), "cos": ("cos_any", "library"),
    "pow": ("pow_any", "library"), "maximum": ("maximum", "maximum"), "minimum": ("minimum", "maximum"),
    "abs": ("absolute", "absolute"), "floor": ("to_floor", "rounding"), "ceil": ("to_ceil", "rounding"),
    "round": ("to_nearest", "rounding"), "trunc": ("to_zero", "rounding"),
    "round_bfloat16": ("round_bfloat16", "bfloat16"), "round_float16": ("round_float16", "float16"),
}  # fmt: skip
"""Operation -> C++ function and the section that has it."""

_RESERVED = frozenset(
    [
        "alignas",
        "alignof",
        "and",
        "asm",
        "auto",
        "bool",
        "break",
        "case",
        "catch",
        "char",
        "class",
        "const",
        "constexpr",
        "continue",
        "decltype",
        "default",
        "delete",
        "do",
        "double",
        "else",
        "enum",
        "explicit",
        "export",
        "extern",
        "false",
        "float",
        "for",
        "friend",
        "goto",
        "if",
        "inline",
        "int",
        "long",
        "mutable",
        "namespace",
        "new",
        "noexcept",
        "not",
        "nullptr",
        "operator",
        "or",
        "private",
        "protected",
        "public",
        "register",
        "return",
        "short",
        "signed",
        "sizeof",
        "static",
        "struct",
        "switch",
        "template",
        "this",
        "throw",
        "true",
        "try",
        "typedef",
        "typeid",
        "typename",
        "union",
        "unsigned",
        "using",
        "virtual",
        "void",
        "volatile",
        "while",
        "xor",
    ]
)

_HINTS = {
    "mul": "product", "add": "sum", "sub": "difference", "div": "quotient", "rsqrt": "inverse_root", "exp": "power",
    "exp_falling": "power", "row_sum": "total", "row_max": "highest", "row_max_quiet": "highest", "row_min": "lowest",
    "row_argmax": "position", "row_argmin": "position", "column_sum": "column_total", "total_sum": "grand_total",
    "not": "negated", "and": "both", "or": "either", "where": "chosen", "reciprocal": "inverse", "pick": "picked",
}  # fmt: skip


def type_section(dtype: DType) -> str:
    """Name the section that loads and stores a type."""
    return _TYPE_SECTIONS[dtype]


def node_name(loop: RowLoop, node_id: NodeId) -> str:
    """Give the variable of a node: what it is, and its number."""
    node = loop.node(node_id)
    hint = member(node.access.tensor) if node.op == "load" and node.access else _HINTS.get(node.op, node.op)
    return f"{hint}_{node_id}"


def member(tensor: str) -> str:
    """Give the name of a tensor or scalar in the arguments: its own, made a C++ identifier that nothing else has."""
    text = re.sub(r"[^A-Za-z0-9_]", "_", tensor)
    return f"{text}_" if text in _RESERVED or text.startswith("n_") or not text[0].isalpha() else text


def axis_name(axis: str) -> str:
    """Give the variable that holds the size of an axis."""
    return f"n_{axis}"


def size_text(size: Size) -> str:
    """Write a size in C++ over variables named as the axes; sizes are never negative, so `/` floors."""
    return _cpp(ast.parse(size.text, mode="eval").body)


def _cpp(node: ast.expr) -> str:
    operators: Mapping[type[ast.operator], str] = {
        ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "/", ast.Mod: "%",
    }  # fmt: skip
    match node:
        case ast.Constant(value=int() as number):
            return str(number)
        case ast.Name(id=name):
            return axis_name(name)
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return f"-{_cpp(inner)}"
        case ast.BinOp(left=left, op=op, right=right) if type(op) in operators:
            return f"({_cpp(left)} {operators[type(op)]} {_cpp(right)})"
        case _:
            raise InvalidInput(f"size {ast.unparse(node)!r} has no C++ form.", remedy="Write it with + - * // and %.")


def plain(text: str) -> str:
    """Drop the outermost parentheses that `size_text` leaves around a whole expression."""
    if not (text.startswith("(") and text.endswith(")")):
        return text
    depth = 0
    for index, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0 and index < len(text) - 1:
            return text
    return text[1:-1]


def literal(value: float) -> str:
    """Write a constant as a literal: a truth value as one, anything else as a float."""
    if isinstance(value, bool):
        return "true" if value else "false"
    number = float(value)
    if math.isnan(number):
        return '__builtin_nanf("")'
    if math.isinf(number):
        return "-__builtin_inff()" if number < 0 else "__builtin_inff()"
    text = repr(number)
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


class Expressions:
    """Writes the nodes of one loop; collects the sections they need."""

    def __init__(self, loop: RowLoop, sections: set[str]) -> None:
        """Keep the loop, and the set that grows."""
        self._loop = loop
        self._sections = sections

    def scalar_section(self, dtype: DType) -> None:
        """Ask for what reads and writes single elements of a type."""
        self._sections.add(type_section(dtype))
        if dtype is DType.FLOAT32:
            self._sections.add("float32_scalar")

    def operand(self, node_id: NodeId, *, as_vector: bool) -> str:
        """Write a node where it is used: a literal, a variable, a number of this row, spread where a vector is needed."""
        node = self._loop.node(node_id)
        if node.space.has_columns:
            return node_name(self._loop, node_id)
        text = self._number(node_id, node)
        return f"splat({text})" if as_vector else text

    def _number(self, node_id: NodeId, node: Node) -> str:
        if node.op == "constant" and node.constant is not None:
            return literal(node.constant)
        if node.op == "size" and node.size is not None:
            return f"static_cast<float>({plain(size_text(node.size))})"
        if node.op == "scalar_input":
            return f"a.{member(node.name)}"
        name = node_name(self._loop, node_id)
        return f"{name}[r]" if node.space.has_rows else name

    def pointwise(self, node_id: NodeId) -> str:
        """Write the operation of a pointwise node over its operands."""
        node = self._loop.node(node_id)
        vector = node.space.has_columns
        if node.op in _INFIX:
            return self._infix(node)
        if node.op == "where":
            return self._choice(node)
        args = [self.operand(arg, as_vector=vector) for arg in node.args]
        short: dict[str, Callable[[], str]] = {
            "neg": lambda: f"-{args[0]}",
            "not": lambda: f"~{args[0]}" if vector else f"!{args[0]}",
            "is_nan": lambda: f"{args[0]} != {args[0]}",
            "reciprocal": lambda: f"1.0f / {args[0]}",
            "rsqrt": lambda: f"1.0f / root({args[0]})",
        }
        if node.op == "rsqrt":
            self._sections.add("roots")
        if node.op in short:
            return short[node.op]()
        function, section = _FUNCTIONS[node.op]
        self._sections.add(section)
        return f"{function}({', '.join(args)})"

    def _infix(self, node: Node) -> str:
        vector = node.space.has_columns
        integers = any(self._loop.node(arg).kind is Kind.INT for arg in node.args)
        # Arithmetic of a vector with a number needs no spreading; comparisons, truth values and integers do.
        spread = vector and (node.op not in {"add", "sub", "mul", "div"} or integers)
        left, right = (self.operand(arg, as_vector=spread) for arg in node.args)
        return f"{left} {_INFIX[node.op]} {right}"

    def _choice(self, node: Node) -> str:
        vector = node.space.has_columns
        condition = self.operand(node.args[0], as_vector=vector)
        yes, no = (self.operand(arg, as_vector=vector) for arg in node.args[1:])
        return f"{condition} ? {yes} : {no}"
