"""The vocabulary: banned names are absent, and the glossary's words have the types it says."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BANNED = {"manager", "helper", "helpers", "util", "utils", "common", "misc", "data", "info"}
BANNED_VERBS = {"handle", "process"}
"""First words of names that say nothing of what is done: `handle_event`, `process_item`."""
WORDS = (
    "Goal", "Job", "Node", "Method", "Action", "Patch", "Outcome", "Definition", "Workload", "Problem", "Solution",
    "Candidate", "Lineage", "Version", "Champion", "Variation operator", "Direction", "Evaluation", "Trace", "SOL bound",
    "SOL Score", "Lane", "Tool", "Spend", "Budget",
)  # fmt: skip
GLOSSARY = ROOT / "docs" / "glossary.md"


def parts(name: str) -> list[str]:
    """Split `snake_case` and `CamelCase` into lower-case words."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)]


def defined_names() -> Iterator[tuple[str, ast.AST | None, str]]:
    """Give every module, class and function of ours: its place, its node (None for a module) and its name."""
    for path in sorted((*(ROOT / "deep_agent").rglob("*.py"), *(ROOT / "services").rglob("*.py"))):
        place = str(path.relative_to(ROOT))
        yield place, None, path.stem if path.stem != "__init__" else path.parent.name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{place}:{node.lineno}", node, node.name


def is_banned(node: ast.AST | None, name: str) -> bool:
    if isinstance(node, ast.FunctionDef) and any(ast.unparse(mark) == "override" for mark in node.decorator_list):
        return False  # a library's interface chose the name
    words = parts(name)
    if BANNED & set(words):
        return True
    if isinstance(node, ast.ClassDef):
        return bool({"kernel", "task"} & set(words))
    return node is not None and len(words) > 1 and words[0] in BANNED_VERBS


def test_names_say_something():
    assert [f"{place} {name}" for place, node, name in defined_names() if is_banned(node, name)] == []


@pytest.mark.parametrize("name", ["job_manager", "DataStore", "load_util", "getInfo"])
def test_a_banned_name_is_noticed(name):
    assert is_banned(None, name)


def glossary_rows() -> dict[str, str]:
    """Map each word of the glossary's table to the cell that names its type."""
    rows = re.findall(r"^\| \*\*(.+?)\*\* \| (.+?) \| .+\|$", GLOSSARY.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(rows)


def test_the_glossary_has_every_word_and_each_once():
    rows = re.findall(r"^\| \*\*(.+?)\*\* \|", GLOSSARY.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(set(rows)) == sorted(rows)
    assert set(WORDS) - set(rows) == set()


def test_every_type_the_glossary_names_exists():
    named = {word: re.findall(r"`(deep_agent\.[\w.]+)`", cell) for word, cell in glossary_rows().items()}
    assert any(named.values())
    for word, paths in named.items():
        assert paths or "not built yet" in glossary_rows()[word], f"{word} names no type"
        for path in paths:
            module, _, name = path.rpartition(".")
            assert hasattr(importlib.import_module(module), name), f"{word}: {path} does not exist"
