"""Owns writing the walk over all rows: threads, scratch memory, column sums, and what follows the last row."""

from collections.abc import Sequence

from deep_agent.lowering.cppexpr import CPP_TYPES, Expressions, member, node_name, plain, size_text, type_section
from deep_agent.lowering.cpplines import indented, scalar_lines, size_locals
from deep_agent.lowering.cpprows import ROWS_PER_FLUSH, LoopText
from deep_agent.lowering.expression import Kind, NodeId, Space, Store


def walk_functions(text: LoopText, sections: set[str]) -> str:
    """Write the function that one thread runs, and the one that runs them all."""
    return f"{_span(text)}\n\n{_run(text, sections)}"


def _names(text: LoopText, nodes: Sequence[NodeId]) -> list[str]:
    return [node_name(text.loop, node_id) for node_id in nodes]


def _span(text: LoopText) -> str:
    sums, totals = _names(text, text.plan.column_sums), _names(text, text.plan.total_sums)
    together = text.schedule.rows_together
    state = ", scratch, stride" if text.plan.kept else ""
    state += "".join(f", {name}" for name in (*sums, *totals))
    end = "stop" if sums else "end"
    walk = [f"for (; i < {end}; ++i) rows_{text.number}<1>(a, i{state});"]
    if together > 1:
        walk.insert(0, f"for (; i + {together} <= {end}; i += {together}) rows_{text.number}<{together}>(a, i{state});")
    walk = _in_chunks(walk, sums) if sums else ["int64_t i = begin;", *walk]
    if text.schedule.streaming_stores:
        walk += [
            "#ifdef __SSE2__",
            "__builtin_ia32_sfence();  // streaming stores are in order for other threads from here on",
            "#endif",
        ]
    parameters = text.state_parameters() + "".join(f", float* {name}_all" for name in sums)
    if sums and not text.plan.kept:
        parameters = ", int64_t stride" + parameters
    return "\n".join([
        "// Handle the rows from `begin` up to `end` on one thread.",
        f"static void span_{text.number}(const Arguments& a, int64_t begin, int64_t end{parameters}) {{",
        *indented(walk),
        "}",
    ])  # fmt: skip


def _in_chunks(walk: Sequence[str], sums: Sequence[str]) -> list[str]:
    flush = [f"{name}_all[j] += {name}[j]; {name}[j] = 0.0f;" for name in sums]
    return [
        "// Sums over many rows lose digits in float32: sum a few rows, then add that to the total.",
        "for (int64_t i = begin; i < end;) {",
        f"  const int64_t stop = i + {ROWS_PER_FLUSH} < end ? i + {ROWS_PER_FLUSH} : end;",
        *indented(walk),
        "  for (int64_t j = 0; j < stride; ++j) {",
        *indented(indented(flush)),
        "  }",
        "}",
    ]


def _run(text: LoopText, sections: set[str]) -> str:
    threads = text.schedule.threads
    sums, totals = _names(text, text.plan.column_sums), _names(text, text.plan.total_sums)
    lines = [*size_locals(text.loop), f"const int64_t n_rows_all = {text.rows};"]
    lines += _memory(text, sums, threads)
    lines += [f"double {name}_of[{threads}] = {{}};" for name in totals]
    call = _span_call(text, sums, totals)
    if threads > 1:
        lines += [
            f"#pragma omp parallel for num_threads({threads}) schedule(static, 1)",
            f"for (int t = 0; t < {threads}; ++t) {{",
            *indented(
                [f"const int64_t begin = n_rows_all * t / {threads}, end = n_rows_all * (t + 1) / {threads};", call]
            ),
            "}",
        ]
    else:
        lines.append(call)
    lines += _ending(text, sums, totals, sections)
    lines.append("return true;")
    return "\n".join([
        "// Handle all rows; false if memory for the scratch is missing.",
        f"static bool run_{text.number}(const Arguments& a) {{",
        *indented(lines),
        "}",
    ])  # fmt: skip


def _memory(text: LoopText, sums: Sequence[str], threads: int) -> list[str]:
    if not text.needs_scratch:
        return []
    kept = len(text.plan.kept) * text.schedule.rows_together
    parts = kept + 2 * len(sums)
    lines = [
        f"const int64_t stride = {text.stride};",
        f"const int64_t per_thread = {parts} * stride;  // kept rows: {kept}; column sums, in parts and in all: {len(sums)}",
        f"float* const memory = scratch_memory({threads} * per_thread);",
        "if (memory == nullptr) return false;",
    ]
    if sums:
        lines.append(f"for (int64_t k = 0; k < {threads} * per_thread; ++k) memory[k] = 0.0f;")
    return lines


def _span_call(text: LoopText, sums: Sequence[str], totals: Sequence[str]) -> str:
    threads = text.schedule.threads
    base = "memory + t * per_thread" if threads > 1 else "memory"
    kept = len(text.plan.kept) * text.schedule.rows_together
    bounds = "begin, end" if threads > 1 else "0, n_rows_all"
    state = f", {base}, stride" if text.plan.kept else ", stride" if sums else ""
    state += "".join(f", {base} + {kept + k} * stride" for k in range(len(sums)))
    state += "".join(f", {name}_of[{'t' if threads > 1 else '0'}]" for name in totals)
    state += "".join(f", {base} + {kept + len(sums) + k} * stride" for k in range(len(sums)))
    return f"span_{text.number}(a, {bounds}{state});"


def _ending(text: LoopText, sums: Sequence[str], totals: Sequence[str], sections: set[str]) -> list[str]:
    """Write what follows the last row: threads' sums combined, and the outputs made of them."""
    threads, kept = text.schedule.threads, len(text.plan.kept) * text.schedule.rows_together
    lines = []
    for k, name in enumerate(sums):
        lines.append(f"float* const {name}_all = memory + {kept + len(sums) + k} * stride;")
        if threads > 1:
            lines.append(
                f"for (int t = 1; t < {threads}; ++t) for (int64_t j = 0; j < stride; ++j) {name}_all[j] += {name}_all[t * per_thread + j];"
            )
    for name in totals:
        if threads > 1:
            lines.append(f"for (int t = 1; t < {threads}; ++t) {name}_of[0] += {name}_of[t];")
        lines.append(f"const float {name} = static_cast<float>({name}_of[0]);")
    expressions = Expressions(text.loop, sections)
    if text.plan.late_stores:
        lines += scalar_lines(text.loop, expressions, late=False)
        lines += scalar_lines(text.loop, expressions, late=True)
    for store in text.plan.late_stores:
        lines += _late_store(text, store, expressions, sections)
    return lines


def _late_store(text: LoopText, store: Store, expressions: Expressions, sections: set[str]) -> list[str]:
    access = store.access
    sections.add(type_section(access.dtype))
    kind, place = CPP_TYPES[access.dtype], f"a.{member(access.tensor)}"
    if access.window is None:
        expressions.scalar_section(access.dtype)
        return [f"{place}[0] = narrowed({expressions.operand(store.node, as_vector=False)}, {kind}{{}});"]
    sections.update({"store", "load", "float32"})
    body = [_late_vector(text, node_id, expressions, sections) for node_id in _column_nodes(text, store.node)]
    value = expressions.operand(store.node, as_vector=True)
    offset = size_text(access.window.offset)
    at = place if offset == "0" else f"{place} + {offset}"
    return [
        f"// After the last row: write {access.tensor}.",
        f"sweep<1>({plain(size_text(access.window.width))}, [&](int64_t j, auto lanes, int) __attribute__((always_inline)) {{",
        *indented([*body, f"store({at} + j, {value}, lanes);"]),
        "});",
    ]


def _column_nodes(text: LoopText, root: NodeId) -> list[NodeId]:
    found: set[NodeId] = set()
    waiting = [root]
    while waiting:
        node_id = waiting.pop()
        node = text.loop.node(node_id)
        if node.space is Space.COLUMN and node_id not in found:
            found.add(node_id)
            waiting.extend(() if node.is_over_rows else node.args)
    return sorted(found)


def _late_vector(text: LoopText, node_id: NodeId, expressions: Expressions, sections: set[str]) -> str:
    node, name = text.loop.node(node_id), node_name(text.loop, node_id)
    kind = "ivec" if node.kind is Kind.BOOL else "vec"
    if node.op == "column_sum":
        return f"const vec {name} = load({name}_all + j, All{{}});"
    if node.op == "load" and node.access is not None and node.access.window is not None:
        sections.add(type_section(node.access.dtype))
        offset = size_text(node.access.window.offset)
        at = f"a.{member(node.access.tensor)}" + ("" if offset == "0" else f" + {offset}")
        return f"const {kind} {name} = load({at} + j, lanes);"
    if node.op == "column_index" and node.size is not None:
        return (
            f"const vec {name} = __builtin_convertvector(iota(), vec) + static_cast<float>(j + {size_text(node.size)});"
        )
    return f"const {kind} {name} = {expressions.pointwise(node_id)};"
