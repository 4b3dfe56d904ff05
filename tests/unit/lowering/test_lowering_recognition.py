import pytest
from lowering_builders import GraphBuilder, ints, lit, rmsnorm_graph, size, softmax_graph, t, weight_gradient_graph

from deep_agent.lowering.expression import CannotLower, RowProgram, Space
from deep_agent.lowering.rows import recognise
from deep_agent.problem.dtype import DType
from deep_agent.problem.opgraph import ListArg, OpGraph


def program(graph: OpGraph) -> RowProgram:
    found = recognise(graph)
    assert isinstance(found, RowProgram), found
    return found


def reason(graph: OpGraph) -> str:
    found = recognise(graph)
    assert isinstance(found, CannotLower), found
    return found.reason


def test_a_norm_reads_its_rows_once_as_full_and_its_weight_as_columns():
    (loop,) = program(rmsnorm_graph()).loops
    spaces = {node.access.tensor: node.space for node in loop.nodes if node.access}
    assert spaces == {"x": Space.FULL, "w": Space.COLUMN}
    assert [size.text for size in loop.rows] == ["rows"]


def test_equal_work_is_made_once():
    (loop,) = program(softmax_graph()).loops
    assert sum(node.op == "exp_falling" for node in loop.nodes) == 1
    assert len(set(loop.nodes)) == len(loop.nodes)


def test_operands_stand_before_what_uses_them():
    for graph in (softmax_graph(), rmsnorm_graph(DType.BFLOAT16), weight_gradient_graph()):
        for loop in program(graph).loops:
            assert all(arg < index for index, node in enumerate(loop.nodes) for arg in node.args)


def test_a_result_of_a_narrow_type_is_rounded_after_every_operation():
    b = GraphBuilder()
    x = b.input("x", "rows cols", DType.BFLOAT16)
    twice = b.call("add.Tensor", t(x), t(x), out="rows cols", dtype=DType.BFLOAT16)
    (loop,) = program(b.graph(y=b.call("mul.Tensor", t(twice), t(x), out="rows cols", dtype=DType.BFLOAT16))).loops
    assert [node.op for node in loop.nodes] == ["load", "add", "round_bfloat16", "mul", "round_bfloat16"]


def test_a_sum_over_the_rows_is_known_after_the_last_row():
    (loop,) = program(weight_gradient_graph()).loops
    assert loop.node(loop.stores[0].node).late
    assert loop.stores[0].access.space is Space.COLUMN


def test_halves_of_the_columns_become_runs_with_an_offset():
    b = GraphBuilder()
    x = b.input("x", "rows cols")
    left, right = b.calls("split.Tensor", t(x), size("half"), lit(-1), outs=("rows half", "rows half"))
    (loop,) = program(b.graph(y=b.call("mul.Tensor", t(left), t(right), out="rows half"))).loops
    windows = [(n.access.window.offset.text, n.access.window.width.text) for n in loop.nodes if n.access]
    assert windows == [("0", "half"), ("half", "half")]


def test_joined_columns_are_stored_run_by_run():
    b = GraphBuilder()
    x, z = b.input("x", "rows half"), b.input("z", "rows half")
    joined = ListArg(items=(t(x), t(z)))
    (loop,) = program(b.graph(y=b.call("cat.default", joined, lit(-1), out="rows cols"))).loops
    assert [store.access.window.offset.text for store in loop.stores] == ["0", "half"]


def test_a_view_that_splits_the_columns_makes_them_rows():
    b = GraphBuilder()
    x = b.input("x", "rows cols")
    view = b.call("view.default", t(x), out="rows heads dim")
    top = b.call("amax.default", t(view), ints(-1), out="rows heads")
    (loop,) = program(b.graph(y=top)).loops
    assert [size.text for size in loop.rows] == ["rows", "heads"]
    assert loop.nodes[0].access.row_width.text == "dim"


def test_outputs_over_other_rows_get_a_loop_of_their_own():
    b = GraphBuilder()
    x, z = b.input("x", "rows cols"), b.input("z", "heads dim")
    y, v = b.call("exp.default", t(x), out="rows cols"), b.call("exp.default", t(z), out="heads dim")
    assert len(program(b.graph(y=y, v=v)).loops) == 2


@pytest.mark.parametrize(
    ("name", "words"),
    [("mm.default", "aten.mm.default"), ("cumsum.default", "aten.cumsum.default"), ("my_op.x", "aten.my_op.x")],
)
def test_what_cannot_be_lowered_is_named(name: str, words: str):
    b = GraphBuilder()
    x = b.input("x", "rows cols")
    message = reason(b.graph(y=b.call(name, t(x), t(x), out="rows cols")))
    assert words in message
    assert message.endswith(".")


def test_a_transposed_read_is_refused():
    b = GraphBuilder()
    x, z = b.input("x", "rows cols"), b.input("z", "cols rows")
    turned = b.call("t.default", t(z), out="rows cols")
    assert "'z' is read across its columns" in reason(b.graph(y=b.call("add.Tensor", t(x), t(turned), out="rows cols")))


def test_a_second_sweep_over_the_rows_is_refused():
    b = GraphBuilder()
    x = b.input("x", "rows cols")
    mean = b.call("mean.dim", t(x), ints(0), lit(value=True), out="1 cols")
    assert "second sweep" in reason(b.graph(y=b.call("sub.Tensor", t(x), t(mean), out="rows cols")))


def test_double_precision_is_refused_rather_than_narrowed():
    b = GraphBuilder()
    x = b.input("x", "rows cols", DType.FLOAT64)
    assert "float64" in reason(b.graph(y=b.call("exp.default", t(x), out="rows cols", dtype=DType.FLOAT64)))


def test_one_vector_cannot_run_along_rows_and_columns():
    b = GraphBuilder()
    x = b.input("x", "rows")
    across, down = (
        b.call("unsqueeze.default", t(x), lit(0), out="1 rows"),
        b.call("unsqueeze.default", t(x), lit(1), out="rows 1"),
    )
    assert "along its rows and again along its columns" in reason(
        b.graph(y=b.call("mul.Tensor", t(across), t(down), out="rows rows"))
    )
