"""Owns the order of work within a row: which pass over the columns computes, reduces, keeps and stores what."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from deep_agent.lowering.expression import SPECIAL, Kind, NodeId, RowLoop, Space, Store
from deep_agent.lowering.size import Size
from deep_agent.problem.dtype import DType

RowCache = Literal["recompute", "costly", "all"]
"""What a later pass takes from the row's scratch: nothing, what cost special functions, or all it shares."""


@dataclass(frozen=True)
class Sweep:
    """One loop over the columns."""

    width: Size
    nodes: tuple[NodeId, ...]
    """What is computed for each column, operands first."""
    cached: tuple[NodeId, ...]
    """What is read from the scratch instead."""
    kept: tuple[NodeId, ...]
    """What is written to the scratch for later passes."""
    reductions: tuple[NodeId, ...]
    column_sums: tuple[NodeId, ...]
    stores: tuple[Store, ...]
    first_loads: tuple[NodeId, ...]
    """Loads of tensor rows that no earlier pass has touched."""
    shared_loads: tuple[NodeId, ...] = ()
    """This sweep's share of all such loads of its width: memory is then asked for throughout a row, not in one pass."""


@dataclass(frozen=True)
class Pass:
    """What follows from one set of row results: numbers of the row, then loops over the columns."""

    row_nodes: tuple[NodeId, ...]
    sweeps: tuple[Sweep, ...]


@dataclass(frozen=True)
class Plan:
    """The work of one row, and what follows after the last."""

    passes: tuple[Pass, ...]
    last_row_nodes: tuple[NodeId, ...]
    """Numbers of the row that need the last pass."""
    kept: tuple[NodeId, ...]
    """Everything that has a place in the scratch."""
    column_sums: tuple[NodeId, ...]
    total_sums: tuple[NodeId, ...]
    row_stores: tuple[Store, ...]
    late_stores: tuple[Store, ...]
    """Stores after the last row."""
    costly_pass: int
    """The pass with the most arithmetic, where memory has time to prefetch."""


def plan(loop: RowLoop, row_cache: RowCache) -> Plan:
    """Order the work of one row."""
    return _Planner(loop, row_cache).plan()


class _Planner:
    def __init__(self, loop: RowLoop, row_cache: RowCache) -> None:
        self._loop = loop
        self._row_cache = row_cache
        self._ready = _ready_levels(loop)
        self._costs = _costs(loop)
        self._first_pass: dict[NodeId, int] = {}
        self._touched: set[NodeId] = set()

    def plan(self) -> Plan:
        loop, ready = self._loop, self._ready
        live = _live(loop)
        reductions = [n for n in live if loop.node(n).is_row_reduction]
        column_sums = [n for n in live if loop.node(n).op == "column_sum"]
        full_stores = [store for store in loop.stores if store.access.space is Space.FULL]
        ends = [ready[loop.node(n).args[0]] + 1 for n in (*reductions, *column_sums)]
        n_passes = max([*ends, *(ready[store.node] + 1 for store in full_stores)], default=0)
        drafts = [
            self._sweeps(
                index,
                [n for n in reductions if ready[loop.node(n).args[0]] == index],
                [n for n in column_sums if ready[loop.node(n).args[0]] == index],
                [store for store in full_stores if ready[store.node] == index],
            )
            for index in range(n_passes)
        ]
        kept = {node for sweeps in drafts for sweep in sweeps for node in sweep.cached}
        rows = [n for n in live if loop.node(n).space is Space.ROW and not loop.node(n).is_row_reduction]
        passes = tuple(
            Pass(
                tuple(n for n in rows if ready[n] == index),
                tuple(self._with_kept(index, sweep, kept) for sweep in sweeps),
            )
            for index, sweeps in enumerate(_with_shares(drafts))
        )
        return Plan(
            passes=passes,
            last_row_nodes=tuple(n for n in rows if ready[n] >= n_passes),
            kept=tuple(sorted(kept)),
            column_sums=tuple(column_sums),
            total_sums=tuple(n for n in live if loop.node(n).op == "total_sum"),
            row_stores=tuple(store for store in loop.stores if store.access.space is Space.ROW),
            late_stores=tuple(store for store in loop.stores if not store.access.space.has_rows),
            costly_pass=max(range(n_passes), key=lambda index: self._arithmetic(drafts[index]), default=0),
        )

    def _arithmetic(self, sweeps: Sequence[Sweep]) -> int:
        return sum(self._own_cost(node) for sweep in sweeps for node in sweep.nodes)

    def _sweeps(
        self, index: int, reductions: Sequence[NodeId], sums: Sequence[NodeId], stores: Sequence[Store]
    ) -> list[Sweep]:
        widths: dict[str, Size] = {}
        for size in (*(self._loop.node(n).width for n in (*reductions, *sums)), *(_width(store) for store in stores)):
            assert size is not None
            widths.setdefault(size.text, size)
        sweeps = []
        for text, width in widths.items():
            mine = [n for n in reductions if _text(self._loop.node(n).width) == text]
            my_sums = [n for n in sums if _text(self._loop.node(n).width) == text]
            my_stores = [store for store in stores if _width(store).text == text]
            roots = [*(self._loop.node(n).args[0] for n in (*mine, *my_sums)), *(store.node for store in my_stores)]
            nodes, cached = self._demand(index, roots)
            loads = [n for n in nodes if self._loop.node(n).op == "load" and self._loop.node(n).space is Space.FULL]
            first = [n for n in loads if n not in self._touched]
            self._touched.update(loads)
            sweeps.append(Sweep(width, nodes, cached, (), tuple(mine), tuple(my_sums), tuple(my_stores), tuple(first)))
        return sweeps

    def _demand(self, index: int, roots: Iterable[NodeId]) -> tuple[tuple[NodeId, ...], tuple[NodeId, ...]]:
        """Give what has to be computed for the roots, and what the scratch already has."""
        needed: set[NodeId] = set()
        cached: set[NodeId] = set()
        waiting = list(roots)
        while waiting:
            node_id = waiting.pop()
            node = self._loop.node(node_id)
            if node_id in needed or node_id in cached or not node.space.has_columns:
                continue
            if self._is_worth_keeping(node_id) and self._first_pass.get(node_id, index) < index:
                cached.add(node_id)
                continue
            needed.add(node_id)
            self._first_pass.setdefault(node_id, index)
            waiting.extend(node.args)
        return tuple(sorted(needed)), tuple(sorted(cached))

    def _is_worth_keeping(self, node_id: NodeId) -> bool:
        node = self._loop.node(node_id)
        if node.space is not Space.FULL or node.kind is not Kind.FLOAT or self._row_cache == "recompute":
            return False
        return self._costs[node_id] >= (_SPECIAL_COST if self._row_cache == "costly" else 1)

    def _own_cost(self, node_id: NodeId) -> int:
        return _own_cost(self._loop, node_id)

    def _with_kept(self, index: int, sweep: Sweep, kept: set[NodeId]) -> Sweep:
        mine = tuple(n for n in sweep.nodes if n in kept and self._first_pass[n] == index)
        return replace(sweep, kept=mine)


_SPECIAL_COST = 8
"""Multiply-adds that a special function weighs."""


def _own_cost(loop: RowLoop, node_id: NodeId) -> int:
    node = loop.node(node_id)
    if node.op == "load":
        # A narrow type has to be widened again; float32 comes as it is.
        return 1 if node.access is not None and node.access.dtype is not DType.FLOAT32 else 0
    if node.op in {"constant", "size", "scalar_input", "column_index"}:
        return 0
    return _SPECIAL_COST if node.op in SPECIAL else 1


def _costs(loop: RowLoop) -> list[int]:
    """Give the arithmetic behind each node, capped so that shared work cannot grow without bound."""
    costs: list[int] = []
    for node_id, node in enumerate(loop.nodes):
        below = sum(costs[arg] for arg in node.args if loop.node(arg).space.has_columns)
        costs.append(min(_own_cost(loop, node_id) + below, 10**6))
    return costs


def _ready_levels(loop: RowLoop) -> list[int]:
    """Give, for each node, the first pass in which it can be computed."""
    ready: list[int] = []
    for node in loop.nodes:
        level = max((ready[arg] for arg in node.args), default=0)
        ready.append(level + 1 if node.is_row_reduction else level)
    return ready


def _live(loop: RowLoop) -> list[NodeId]:
    found: set[NodeId] = set()
    waiting = [store.node for store in loop.stores]
    while waiting:
        node_id = waiting.pop()
        if node_id not in found:
            found.add(node_id)
            waiting.extend(loop.node(node_id).args)
    return sorted(found)


def _with_shares(passes: Sequence[Sequence[Sweep]]) -> list[list[Sweep]]:
    """Deal the first loads out, in turn, to the sweeps that have the same width."""
    sweeps = [(index, sweep) for index, part in enumerate(passes) for sweep in part]
    shares: list[list[NodeId]] = [[] for _ in sweeps]
    for width in dict.fromkeys(sweep.width.text for _, sweep in sweeps):
        alike = [place for place, (_, sweep) in enumerate(sweeps) if sweep.width.text == width]
        loads = [node for place in alike for node in sweeps[place][1].first_loads]
        for turn, node in enumerate(loads):
            shares[alike[turn % len(alike)]].append(node)
    dealt: list[list[Sweep]] = [[] for _ in passes]
    for (index, sweep), share in zip(sweeps, shares, strict=True):
        dealt[index].append(replace(sweep, shared_loads=tuple(share)))
    return dealt


def _width(store: Store) -> Size:
    assert store.access.window is not None
    return store.access.window.width


def _text(size: Size | None) -> str:
    return size.text if size is not None else ""
