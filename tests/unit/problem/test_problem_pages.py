"""The pages about problems say what the code does."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

from deep_agent.problem.definition import Definition
from deep_agent.problem.dtype import DType
from deep_agent.problem.solution import Language, Solution
from deep_agent.problem.trace import EvaluationStatus, Trace
from deep_agent.problem.workload import Workload

ROOT = Path(__file__).parents[3]
PAGES = {"definition": Definition, "workload": Workload, "solution": Solution, "trace": Trace}


@pytest.mark.parametrize("noun", sorted(PAGES))
def test_the_example_on_each_page_is_valid(noun):
    text = (ROOT / "docs" / f"{noun}.md").read_text()
    examples = re.findall(r"```json\n(.*?)\n```", text, re.DOTALL)
    assert examples
    for example in examples:
        PAGES[noun].model_validate(json.loads(example))


@pytest.mark.parametrize("noun", sorted(PAGES))
def test_each_page_names_every_field(noun):
    text = (ROOT / "docs" / f"{noun}.md").read_text()
    assert [name for name in PAGES[noun].model_fields if f"`{name}`" not in text and f"spec.{name}" not in text] in (
        [],
        ["spec"],
    )


@pytest.mark.parametrize(
    ("noun", "words"), [("definition", DType), ("solution", Language), ("trace", EvaluationStatus)]
)
def test_each_page_names_every_word_of_its_closed_sets(noun, words):
    text = (ROOT / "docs" / f"{noun}.md").read_text()
    assert [word.value for word in words if word.value not in text] == []


def test_the_page_of_problems_is_current():
    pytest.importorskip("torch")
    spec = importlib.util.spec_from_file_location("problem_table", ROOT / "benchmarks" / "problem_table.py")
    table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(table)
    assert table.PAGE.read_text() == table.render(), "run python benchmarks/problem_table.py"
