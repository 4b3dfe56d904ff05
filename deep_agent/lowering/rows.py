"""Owns recognising a graph as a row program; does not decide how the program is computed."""

from collections.abc import Iterable

from deep_agent.lowering.analysis import Analysis, Handler
from deep_agent.lowering.builder import Builder, Picture
from deep_agent.lowering.compositions import COMPOSITIONS
from deep_agent.lowering.expression import CannotLower, RowLoop, RowProgram, Store, Unsupported
from deep_agent.lowering.layout import Atom, Layout, Splits, StartOver
from deep_agent.lowering.reductions import REDUCTIONS
from deep_agent.lowering.size import ZERO, Window
from deep_agent.lowering.views import VIEWS
from deep_agent.problem.opgraph import OpGraph

HANDLERS: dict[str, Handler] = {**VIEWS, **REDUCTIONS, **COMPOSITIONS}
MAX_ROUNDS = 64
"""Most times the analysis starts over; each one splits a dimension, and graphs split few."""


def recognise(graph: OpGraph) -> RowProgram | CannotLower:
    """See a graph as computations on rows, or say in one sentence why it is none."""
    splits = Splits()
    for _ in range(MAX_ROUNDS):
        analysis = Analysis(graph, splits)
        try:
            analysis.run(HANDLERS)
            return RowProgram(graph.definition, graph.sizes, graph.symbolic, _loops(analysis))
        except StartOver:
            continue
        except Unsupported as error:
            return CannotLower(f"{error}.")
    return CannotLower("the dimensions of its views cannot be brought to common factors.")


def _loops(analysis: Analysis) -> tuple[RowLoop, ...]:
    """Group the outputs that go over the same rows, and build each group's nodes."""
    groups: dict[tuple[frozenset[Atom], frozenset[Atom]], list[str]] = {}
    for name, value_id in analysis.graph.outputs.items():
        pictures = _reachable(analysis.picture(value_id))
        if any(len(set(flat)) < len(flat) for flat in (_flat(analysis, picture.layout) for picture in pictures)):
            raise Unsupported(f"output {name!r} needs one tensor along its rows and again along its columns")
        columns = _columns(analysis, pictures)
        rows = frozenset(
            atom
            for picture in pictures
            for atom in _flat(analysis, picture.layout)
            if analysis.atoms.kin(atom) not in columns
        )
        groups.setdefault((rows, columns), []).append(name)
    return tuple(_loop(analysis, names, rows, columns) for (rows, columns), names in groups.items())


def _reachable(picture: Picture) -> list[Picture]:
    found: dict[int, Picture] = {}
    waiting = [picture]
    while waiting:
        current = waiting.pop()
        if id(current) not in found:
            found[id(current)] = current
            waiting.extend(current.parents)
    return list(found.values())


def _flat(analysis: Analysis, layout: Layout) -> list[Atom]:
    return [analysis.atoms.find(atom) for dim in layout for atom in dim]


def _columns(analysis: Analysis, pictures: Iterable[Picture]) -> frozenset[Atom]:
    """Choose the columns: the innermost dimension of the largest tensor, and what is reduced along with it."""
    kin, flats = analysis.atoms.kin, [_flat(analysis, picture.layout) for picture in pictures]
    largest = max(flats, key=lambda flat: (_elements(analysis, flat), len(flat)))
    if not largest:
        return frozenset()
    columns = {kin(largest[-1])}
    for reduction in analysis.reductions:
        operand = _flat(analysis, reduction.operand)
        gone = [atom for dim in reduction.dims for atom in _flat(analysis, (dim,))]
        # A reduction of everything is one along the columns and then one over the rows.
        if columns & {kin(atom) for atom in gone} and len(gone) < len(operand) and operand[-len(gone) :] == gone:
            columns.update(kin(atom) for atom in gone)
    return frozenset(columns)


def _elements(analysis: Analysis, flat: list[Atom]) -> int:
    count = 1
    for atom in flat:
        count *= analysis.atoms.size(atom).value
    return count


def _loop(analysis: Analysis, names: list[str], rows: frozenset[Atom], columns: frozenset[Atom]) -> RowLoop:
    pictures = [picture for name in names for picture in _reachable(analysis.picture(analysis.graph.outputs[name]))]
    flats = [_flat(analysis, picture.layout) for picture in pictures]
    row_orders = [[atom for atom in flat if atom in rows] for flat in flats]
    # Outputs come first among the reachable, so their order of dimensions wins.
    order = max(row_orders, key=len)
    if len(order) != len(rows):
        raise Unsupported("no tensor has all the dimensions that the rows are made of")
    n_column_atoms = max(sum(analysis.atoms.kin(atom) in columns for atom in flat) for flat in flats)
    builder = Builder(analysis.atoms, order, columns, n_column_atoms)
    stores = [store for name in names for store in _stores(analysis, builder, name)]
    return RowLoop(tuple(analysis.atoms.size(atom) for atom in order), tuple(builder.nodes), tuple(stores))


def _stores(analysis: Analysis, builder: Builder, name: str) -> list[Store]:
    picture = analysis.picture(analysis.graph.outputs[name])
    stores = []
    for window in picture.breaks(builder) or (Window(ZERO, ZERO),):
        node = picture.at(builder, window)
        access = builder.access(name, picture.layout, picture.dtype, window)
        if access.row_terms and len(access.row_terms) != len(builder.row_atoms):
            raise Unsupported(f"output {name!r} has some of the rows' dimensions, but not all")
        if not access.row_terms and builder.nodes[node].space.has_rows:
            raise Unsupported(f"output {name!r} keeps one row of many")
        stores.append(Store(node, access))
    return stores
