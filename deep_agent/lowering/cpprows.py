"""Owns writing one row loop as C++: what is done for a few rows at once, and the walk over all rows."""

from collections.abc import Sequence

from deep_agent.lowering.cppexpr import CPP_TYPES, Expressions, member, node_name, plain, size_text, type_section
from deep_agent.lowering.cpplines import indented, row_text, row_type, scalar_lines, size_locals
from deep_agent.lowering.expression import Access, Kind, NodeId, RowLoop, Space, Store
from deep_agent.lowering.plan import Plan, Sweep, plan
from deep_agent.lowering.schedule import Schedule
from deep_agent.lowering.size import product

ROWS_PER_FLUSH = 128
"""Rows summed before a column sum is added to its total: two levels keep float32 sums over many rows accurate."""

_START = {
    "row_sum": "0.0f",
    "row_max": "-__builtin_inff()",
    "row_max_quiet": "-__builtin_inff()",
    "row_min": "__builtin_inff()",
}
_GATHER = {"row_sum": "total", "row_max": "highest", "row_max_quiet": "highest", "row_min": "lowest",
           "row_argmax": "position", "row_argmin": "position"}  # fmt: skip


class LoopText:
    """The C++ of one row loop."""

    def __init__(self, loop: RowLoop, schedule: Schedule, number: int, sections: set[str]) -> None:
        """Plan the loop.

        Args:
            loop: what to compute.
            schedule: how.
            number: which loop of the program this is, from 1; part of the function names.
            sections: shared sections needed; grows.
        """
        self.loop = loop
        self.schedule = schedule
        self.number = number
        self.plan: Plan = plan(loop, schedule.row_cache)
        self._sections = sections
        self._text = Expressions(loop, sections)
        self._pointers: dict[tuple[str, tuple[int, ...], str], str] = {}
        self._used: dict[str, Access] = {}

    @property
    def rows(self) -> str:
        """The number of rows, in C++."""
        return plain(size_text(product(self.loop.rows)))

    @property
    def stride(self) -> str:
        """Floats from one scratch row to the next: the widest run of columns, and room for whole vectors."""
        widths = dict.fromkeys(plain(size_text(sweep.width)) for part in self.plan.passes for sweep in part.sweeps)
        largest = "int64_t{0}"
        for width in widths:
            largest = f"wider({largest}, {width})" if largest != "int64_t{0}" else width
        return f"padded({largest})"

    @property
    def needs_scratch(self) -> bool:
        """Whether rows or column sums have to be kept in memory."""
        return bool(self.plan.kept or self.plan.column_sums)

    def rows_function(self) -> str:
        """Write the function that handles R neighbouring rows."""
        body = [*self._passes(), *self._row_ends()]
        pointers = self._pointer_lines()
        state = self.state_parameters()
        lines = [
            "// Handle the R rows from `first` on.",
            "template <int R>",
            f"INLINE void rows_{self.number}(const Arguments& a, int64_t first{state}) {{",
            *indented([*size_locals(self.loop), *pointers, *body]),
            "}",
        ]
        return "\n".join(lines)

    def state_parameters(self) -> str:
        """Write the parameters for what outlives a row: scratch, column sums, total sums."""
        text = ", float* scratch, int64_t stride" if self.plan.kept else ""
        text += "".join(f", float* {node_name(self.loop, n)}" for n in self.plan.column_sums)
        return text + "".join(f", double& {node_name(self.loop, n)}" for n in self.plan.total_sums)

    def _pointer_lines(self) -> list[str]:
        """Write the pointers the body uses; call it after the body is written."""
        single, per_row = [], []
        written = {store.access.tensor for store in self.loop.stores}
        for name, access in self._used.items():
            kind = CPP_TYPES[access.dtype] if access.tensor in written else f"const {CPP_TYPES[access.dtype]}"
            place = f"a.{member(access.tensor)}"
            offset = size_text(access.window.offset) if access.window else "0"
            offset = "" if offset == "0" else f" + {plain(offset)}"
            if not access.row_terms:
                single.append(f"{kind}* const {name} = {place}{offset};")
                continue
            row, width = row_text(self.loop.rows, access.row_terms), size_text(access.row_width)
            single.append(f"{kind}* {name}[R];")
            per_row.append(f"{name}[r] = {place} + {row}{'' if width == '1' else f' * {width}'}{offset};")
        loop = ["for (int r = 0; r < R; ++r) {", "  const int64_t i = first + r;", *indented(per_row), "}"]
        return [*single, *(loop if per_row else [])]

    def _passes(self) -> list[str]:
        lines: list[str] = []
        for index, part in enumerate(self.plan.passes):
            lines += self._row_lines(part.row_nodes)
            for sweep in part.sweeps:
                lines += [
                    "",
                    f"// Pass {index + 1} over the columns: {self._purpose(sweep)}.",
                    *self._sweep(index, sweep),
                ]
        return [*self._scalar_lines(), *lines, *self._row_lines(self.plan.last_row_nodes)]

    def _purpose(self, sweep: Sweep) -> str:
        parts = []
        if sweep.reductions:
            parts.append("reduce to " + ", ".join(node_name(self.loop, n) for n in sweep.reductions))
        if sweep.kept:
            parts.append("keep " + ", ".join(node_name(self.loop, n) for n in sweep.kept) + " for a later pass")
        if sweep.column_sums:
            parts.append("add to " + ", ".join(node_name(self.loop, n) for n in sweep.column_sums))
        if sweep.stores:
            parts.append("write " + ", ".join(dict.fromkeys(store.access.tensor for store in sweep.stores)))
        return "; ".join(parts)

    def _scalar_lines(self) -> list[str]:
        return scalar_lines(self.loop, self._text, late=False)

    def _row_lines(self, nodes: Sequence[NodeId]) -> list[str]:
        if not nodes:
            return []
        declared, set_lines = [], []
        for node_id in nodes:
            node = self.loop.node(node_id)
            name = node_name(self.loop, node_id)
            declared.append(f"{row_type(node.kind)} {name}[R];")
            set_lines.append(f"{name}[r] = {self._row_value(node_id)};")
        return [*declared, "for (int r = 0; r < R; ++r) {", *indented(set_lines), "}"]

    def _row_value(self, node_id: NodeId) -> str:
        node = self.loop.node(node_id)
        if node.op == "load":
            assert node.access is not None
            self._text.scalar_section(node.access.dtype)
            return f"widened({self._use(node.access)}[r][0])"
        if node.op == "pick":
            assert node.access is not None
            assert node.access.window is not None
            self._text.scalar_section(node.access.dtype)
            index = self._text.operand(node.args[0], as_vector=False)
            inside = f"{index} >= 0 && {index} < {plain(size_text(node.access.window.width))}"
            at = f"{self._use(node.access)}[r]" if node.access.row_terms else self._use(node.access)
            # A column outside the row has no element: the result says so, and nothing else is read.
            return f'{inside} ? widened({at}[static_cast<int64_t>({index})]) : __builtin_nanf("")'
        if node.op == "row_index":
            assert node.access is not None
            return row_text(self.loop.rows, node.access.row_terms, "(first + r)")
        return self._text.pointwise(node_id)

    def _use(self, access: Access) -> str:
        """Name the pointer to the first column an access touches, one a row where it has rows."""
        offset = size_text(access.window.offset) if access.window else "0"
        key = (access.tensor, access.row_terms, offset)
        if key not in self._pointers:
            taken = sum(tensor == access.tensor for tensor, _, _ in self._pointers)
            self._pointers[key] = f"{member(access.tensor)}_at" + (f"_{taken + 1}" if taken else "")
            self._used[self._pointers[key]] = access
        return self._pointers[key]

    def _sweep(self, index: int, sweep: Sweep) -> list[str]:
        unroll = self.schedule.unroll
        before = [self._accumulator(n, unroll) for n in sweep.reductions]
        after = self._gathered(sweep.reductions)
        shared, each = self._shared_lines(sweep), self._each_row(index, sweep)
        over, width = (
            "[&](int64_t j, auto lanes, [[maybe_unused]] int u) __attribute__((always_inline))",
            plain(size_text(sweep.width)),
        )
        rows = ["#pragma GCC unroll 4", "for (int r = 0; r < R; ++r) {", *indented(each), "}"]
        joint = [*shared, *rows, *self._column_sum_lines(sweep)]
        if not (sweep.stores and self.schedule.streaming_stores):
            walk = [f"sweep<{unroll}>({width}, {over} {{", *indented(joint), "});"]
        elif sweep.column_sums:
            walk = [
                f"sweep_lines<{unroll}>({width}, {over} {{",
                *indented(joint),
                f"}}, {self._lines_of(sweep, '0')});",
            ]
        else:
            # Rows may start at different places of a cache line, and whole lines are to be written: row by row.
            body = indented([*shared, *each])
            alone = [f"sweep_lines<{unroll}>({width}, {over} {{", *body, f"}}, {self._lines_of(sweep, 'r')});"]
            walk = ["for (int r = 0; r < R; ++r) {", *indented(alone), "}"]
        return [*before, *walk, *after]

    def _lines_of(self, sweep: Sweep, row: str) -> str:
        """Name where a row's outputs start, the narrowest type first."""
        accesses = sorted((store.access for store in sweep.stores), key=lambda access: access.dtype.bits)
        return ", ".join(f"{self._use(access)}[{row}]" for access in accesses)

    def _accumulator(self, node_id: NodeId, unroll: int) -> str:
        node, name = self.loop.node(node_id), node_name(self.loop, node_id)
        if node.op in {"row_argmax", "row_argmin"}:
            self._sections.add("position")
            return (
                f"Found {name}_part[R][{unroll}];\n"
                f"for (auto& row : {name}_part) for (auto& part : row) part = Found{{splat(-__builtin_inff()), ivec{{}}}};"
            )
        start = _START[node.op]
        self._sections.add("sum" if node.op == "row_sum" else "extreme")
        return (
            f"vec {name}_part[R][{unroll}];\nfor (auto& row : {name}_part) for (vec& part : row) part = splat({start});"
        )

    def _gathered(self, reductions: Sequence[NodeId]) -> list[str]:
        if not reductions:
            return []
        names = [node_name(self.loop, n) for n in reductions]
        gathers = [_GATHER[self.loop.node(n).op] for n in reductions]
        kinds = [row_type(self.loop.node(n).kind) for n in reductions]
        return [
            *(f"{kind} {name}[R];" for kind, name in zip(kinds, names, strict=True)),
            "for (int r = 0; r < R; ++r) {",
            *(f"  {name}[r] = {gather}({name}_part[r]);" for name, gather in zip(names, gathers, strict=True)),
            "}",
        ]

    def _shared_lines(self, sweep: Sweep) -> list[str]:
        """Write what all rows share: columns that do not vary with the row."""
        lines = [self._vector_line(n) for n in sweep.nodes if self.loop.node(n).space is Space.COLUMN]
        return [*lines, *(f"vec {node_name(self.loop, n)}_new = {{}};" for n in sweep.column_sums)]

    def _each_row(self, index: int, sweep: Sweep) -> list[str]:
        lines = self._prefetches(index, sweep)
        for node_id in sweep.cached:
            lines.append(f"const vec {node_name(self.loop, node_id)} = load({self._scratch(node_id)}, All{{}});")
            self._sections.update({"float32", "load"})
        lines += [self._vector_line(n) for n in sweep.nodes if self.loop.node(n).space is Space.FULL]
        for node_id in sweep.kept:
            lines.append(f"put({self._scratch(node_id)}, {node_name(self.loop, node_id)});")
            self._sections.add("float32")
        lines += [self._reduction_line(n) for n in sweep.reductions]
        for node_id in sweep.column_sums:
            value = self._text.operand(self.loop.node(node_id).args[0], as_vector=True)
            lines.append(f"{node_name(self.loop, node_id)}_new += keep({value}, lanes, 0.0f);")
        lines += [self._store_line(sweep, store) for store in sweep.stores]
        return lines

    def _scratch(self, node_id: NodeId) -> str:
        place = self.plan.kept.index(node_id)
        return f"scratch + ({place} * R + r) * stride + j" if place else "scratch + r * stride + j"

    def _vector_line(self, node_id: NodeId) -> str:
        node, name = self.loop.node(node_id), node_name(self.loop, node_id)
        kind = "ivec" if node.kind is Kind.BOOL else "vec"
        if node.op == "column_index":
            assert node.size is not None
            start = f"j + {size_text(node.size)}" if node.size.text != "0" else "j"
            return f"const vec {name} = __builtin_convertvector(iota(), vec) + static_cast<float>({start});"
        if node.op != "load":
            return f"const {kind} {name} = {self._text.pointwise(node_id)};"
        assert node.access is not None
        self._sections.update({type_section(node.access.dtype), "load"})
        at = self._use(node.access) + ("[r]" if node.access.row_terms else "")
        return f"const {kind} {name} = load({at} + j, lanes);"

    def _reduction_line(self, node_id: NodeId) -> str:
        node, name = self.loop.node(node_id), node_name(self.loop, node_id)
        value = self._text.operand(node.args[0], as_vector=True)
        part = f"{name}_part[r][u]"
        match node.op:
            case "row_sum":
                return f"{part} += keep({value}, lanes, 0.0f);"
            case "row_argmax" | "row_argmin":
                start = f" + {size_text(node.size)}" if node.size is not None and node.size.text != "0" else ""
                return f"follow({part}, {value if node.op == 'row_argmax' else f'-{value}'}, j{start}, lanes);"
            case "row_max_quiet":
                self._sections.add("larger")
                return f"{part} = larger(keep({value}, lanes, {_START[node.op]}), {part});"
            case _:
                self._sections.add("maximum")
                function = "maximum" if node.op == "row_max" else "minimum"
                return f"{part} = {function}(keep({value}, lanes, {_START[node.op]}), {part});"

    def _store_line(self, sweep: Sweep, store: Store) -> str:
        self._sections.update({type_section(store.access.dtype), "store"})
        value = self._text.operand(store.node, as_vector=True)
        function = "store"
        if self.schedule.streaming_stores:
            function = "store_near_line" if sweep.column_sums else "store_line"
        return f"{function}({self._use(store.access)}[r] + j, {value}, lanes);"

    def _column_sum_lines(self, sweep: Sweep) -> list[str]:
        if sweep.column_sums:
            self._sections.update({"float32", "load"})
        names = [node_name(self.loop, n) for n in sweep.column_sums]
        return [f"put({name} + j, load({name} + j, All{{}}) + {name}_new);" for name in names]

    def _prefetches(self, index: int, sweep: Sweep) -> list[str]:
        mode = self.schedule.prefetch
        if mode == "none":
            return []
        if mode == "next_row":
            chosen = index == self.plan.costly_pass and sweep is self.plan.passes[index].sweeps[0]
            loads = [n for part in self.plan.passes for each in part.sweeps for n in each.first_loads] if chosen else []
        elif mode == "next_row_shared":
            loads = list(sweep.shared_loads)
        else:
            loads = list(sweep.first_loads)
        lines = []
        for node_id in loads:
            access = self.loop.node(node_id).access
            if access is None or (
                mode.startswith("next_row") and access.row_terms != tuple(range(len(self.loop.rows)))
            ):
                continue
            self._sections.add("prefetch")
            size = access.dtype.bits // 8
            distance = (
                f"R * {size_text(access.row_width)} * {size}"
                if mode.startswith("next_row")
                else mode.removeprefix("ahead_")
            )
            # One request a cache line of 64 bytes.
            every = min(max(64 // (size * self.schedule.lanes), 1), self.schedule.unroll)
            guard = f"if (u % {every} == 0) " if every > 1 else ""
            lines.append(f"{guard}prefetch({self._use(access)}[r] + j, {distance});")
        return lines

    def _row_ends(self) -> list[str]:
        lines = []
        for store in self.plan.row_stores:
            self._text.scalar_section(store.access.dtype)
            kind = CPP_TYPES[store.access.dtype]
            value = self._text.operand(store.node, as_vector=False)
            lines.append(f"{self._use(store.access)}[r][0] = narrowed({value}, {kind}{{}});")
        for node_id in self.plan.total_sums:
            value = self._text.operand(self.loop.node(node_id).args[0], as_vector=False)
            lines.append(f"{node_name(self.loop, node_id)} += {value};")
        return ["", "for (int r = 0; r < R; ++r) {", *indented(lines), "}"] if lines else []
