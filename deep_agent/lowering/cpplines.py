"""Owns the small pieces of C++ that several parts of a kernel share: rows, sizes, numbers, indentation."""

from collections.abc import Sequence
from textwrap import indent

from deep_agent.lowering.cppexpr import Expressions, member, node_name, size_text
from deep_agent.lowering.expression import Kind, RowLoop, Space
from deep_agent.lowering.size import Size, product


def row_text(rows: tuple[Size, ...], terms: tuple[int, ...], row: str = "i") -> str:
    """Write a tensor's row as a function of the loop's row."""
    if terms == tuple(range(len(rows))):
        return row
    text = ""
    for term in terms:
        inner = product(rows[term + 1 :])
        part = row if inner.text == "1" else f"{row} / {size_text(inner)}"
        part = part if term == 0 else f"{part} % {size_text(rows[term])}"
        text = f"({part})" if not text else f"({text} * {size_text(rows[term])} + {part})"
    return text


def scalar_lines(loop: RowLoop, text: Expressions, *, late: bool) -> list[str]:
    """Write the numbers that vary with neither row nor column."""
    lines = []
    for node_id, node in enumerate(loop.nodes):
        is_made = node.op not in {"constant", "size", "scalar_input", "total_sum"}
        if node.space is Space.SCALAR and is_made and node.late == late:
            if node.op == "load" and node.access:
                text.scalar_section(node.access.dtype)
                value = f"widened(a.{member(node.access.tensor)}[0])"
            else:
                value = text.pointwise(node_id)
            lines.append(f"[[maybe_unused]] const {row_type(node.kind)} {node_name(loop, node_id)} = {value};")
    return lines


def size_locals(loop: RowLoop) -> list[str]:
    """Give the axes names of their own."""
    names: dict[str, None] = {}
    for size in _sizes(loop):
        text = size_text(size)
        names.update(
            dict.fromkeys(word for word in text.replace("(", " ").replace(")", " ").split() if word.isidentifier())
        )
    return [f"[[maybe_unused]] const int64_t {name} = a.{name};" for name in names]


def _sizes(loop: RowLoop) -> list[Size]:
    found = list(loop.rows)
    for node in loop.nodes:
        found += [size for size in (node.width, node.size) if size is not None]
    for access in [*(node.access for node in loop.nodes), *(store.access for store in loop.stores)]:
        if access is not None:
            found.append(access.row_width)
            found += [access.window.offset, access.window.width] if access.window else []
    return found


def row_type(kind: Kind) -> str:
    """Give the C++ type of a number of a row."""
    return {Kind.FLOAT: "float", Kind.INT: "int64_t", Kind.BOOL: "bool"}[kind]


def indented(lines: Sequence[str]) -> list[str]:
    """Put lines one level further in."""
    return indent("\n".join(lines), "  ").split("\n") if lines else []
