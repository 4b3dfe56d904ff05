import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep_agent.errors import InvalidInput
from deep_agent.lowering.cppentry import entry_function
from deep_agent.lowering.cppexpr import literal, member, size_text
from deep_agent.lowering.expression import Unsupported
from deep_agent.lowering.layout import Atoms, Splits, StartOver
from deep_agent.lowering.size import Size, product
from deep_agent.problem.axes import evaluate_expression
from deep_agent.problem.definition import Definition

NAMES = {"a": 3, "b": 5, "c": 7}
sizes = st.one_of(st.integers(0, 9).map(Size.of), st.sampled_from([Size(name, value) for name, value in NAMES.items()]))


@given(sizes, sizes)
def test_sums_and_products_of_sizes_spell_what_they_are_worth(left: Size, right: Size):
    for made in (left + right, product((left, right)), (left + right) - right, product((left + right, right))):
        assert evaluate_expression(made.text, NAMES) == made.value


@given(sizes, sizes)
def test_sizes_keep_their_worth_in_cpp(left: Size, right: Size):
    made = product((left + right, right))
    assert evaluate_expression(size_text(made).replace("n_", ""), NAMES) == made.value


def flattened(splits: Splits, parts: list[int]) -> tuple[Atoms, tuple[int, ...]]:
    atoms = Atoms(splits)
    return atoms, tuple(a for i, n in enumerate(parts) for a in atoms.dimension(("input", 0, i), Size.of(n)))


@given(st.lists(st.integers(2, 5), min_size=1, max_size=4), st.data())
def test_merged_dimensions_split_where_a_view_wants(parts: list[int], data):
    """Merging neighbours into one dimension and viewing it apart again ends after as many rounds as there are merges."""
    cuts = data.draw(st.lists(st.booleans(), min_size=len(parts) - 1, max_size=len(parts) - 1))
    merged = [parts[0]]
    for cut, part in zip(cuts, parts[1:], strict=True):
        if cut:
            merged.append(part)
        else:
            merged[-1] *= part
    splits = Splits()
    for _ in range(len(parts) + 1):
        atoms, flat = flattened(splits, merged)
        try:
            groups = atoms.aligned(flat, [Size.of(part) for part in parts])
        except StartOver:
            continue
        assert [len(group) for group, _ in groups] == [1] * len(parts)
        return
    pytest.fail("the splits did not settle")


def test_dimensions_of_different_sizes_do_not_join():
    atoms = Atoms(Splits())
    three, five = (atoms.dimension(("input", 0, n), Size.of(n)) for n in (3, 5))
    with pytest.raises(Unsupported):
        atoms.unify(three, five)


@given(st.floats(width=32))
def test_literals_are_cpp_floats(value: float):
    text = literal(value)
    assert text.endswith(("f", ")"))
    if text.endswith("f") and "builtin" not in text:
        assert float(text[:-1]) == value


@pytest.mark.parametrize("name", ["double", "n_rows", "a-b", "_x"])
def test_names_that_are_no_cpp_members_are_changed(name: str):
    assert member(name) != name
    assert member(name).isidentifier()


def test_an_axis_no_tensor_shows_is_refused_with_the_remedy():
    definition = Definition.model_validate({
        "name": "op", "axes": {"rows": {"type": "var"}, "lost": {"type": "var"}}, "inputs": {"x": {"shape": ["rows"], "dtype": "float32"}},
        "outputs": {"y": {"shape": ["rows"], "dtype": "float32"}}, "reference": "def run(x): ...",
    })  # fmt: skip
    with pytest.raises(InvalidInput, match="'lost' can be read off no input or output"):
        entry_function(definition, fixed_sizes=None, n_loops=1)


def test_lowering_loads_no_torch():
    code = "import sys, deep_agent.lowering.cpp, deep_agent.lowering.rows; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
