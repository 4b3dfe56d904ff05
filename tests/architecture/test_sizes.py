"""Files stay under 400 lines and functions under 60."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("deep_agent", "services", "benchmarks", "tests", "scripts", "docs", "problems")
KINDS = {".py", ".css", ".js", ".j2", ".html", ".sh", ".md"}
LONGEST_FILE = 400
LONGEST_FUNCTION = 60


def sources() -> list[Path]:
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in KINDS]
    return [path for path in found if not {"__pycache__", "node_modules", "vendor"} & set(path.parts)]


def test_no_file_is_longer_than_the_limit():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    assert lengths
    assert {str(path): length for path, length in lengths.items() if length > LONGEST_FILE} == {}


def test_no_function_is_longer_than_the_limit():
    too_long = {}
    for path in sources():
        if path.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
                length = node.end_lineno - node.lineno + 1
                if length > LONGEST_FUNCTION:
                    too_long[f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"] = length
    assert too_long == {}
