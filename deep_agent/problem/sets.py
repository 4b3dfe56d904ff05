"""Owns reading a whole problem set from disk, as the public benchmark lays it out: folders in folders, or parquet.

A user supplies the set; a member that cannot be read is a value with its reason and never stops the others.
"""

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from deep_agent.errors import InvalidInput, MissingTool
from deep_agent.problem.definition import Definition
from deep_agent.problem.problem import Problem
from deep_agent.problem.readers import DEFINITION_FILE, WORKLOAD_FILE, read_definition, read_workloads
from deep_agent.problem.strict_json import parse_json
from deep_agent.problem.validation import validated, validated_lines
from deep_agent.problem.value import FrozenValue
from deep_agent.problem.workload import Workload

ROWS_A_BATCH = 16
"""Rows of a parquet file held at once; one row may be megabytes."""
_ENCODED = ("axes", "inputs", "outputs", "workloads")
"""Columns that hold JSON as text."""


class SetMember(FrozenValue):
    """One problem of a set: what was read of it, or why it could not be."""

    place: str
    """Where it stands in the set, such as `L1/rmsnorm`."""
    problem: Problem | None
    reason: str = ""


def is_problem_set(root: Path) -> bool:
    """Whether a path is a directory of problems and no problem itself; an empty directory counts as one."""
    return root.is_dir() and not (root / DEFINITION_FILE).is_file()


def set_members(root: Path, device_kind: Literal["cpu", "cuda"]) -> Iterator[SetMember]:
    """Read every member of a set, folders in name order; parquet files only where there is no problem folder.

    Sizes are not checked here: one wrong workload must not cost the others of its problem.

    Raises:
        InvalidInput: `root` is no directory, or holds neither problem folders nor parquet files.
        MissingTool: it holds parquet files alone, and pyarrow is not installed.
    """
    folders = problem_folders(root)
    if folders:
        yield from (_read_member(folder, root, device_kind) for folder in folders)
        return
    files = sorted(path for path in root.rglob("*.parquet") if path.is_file()) if root.is_dir() else []
    if not files:
        raise InvalidInput(
            f"{root}: holds no problem.",
            remedy=f"A problem is a folder with {DEFINITION_FILE} and {WORKLOAD_FILE}, or a row of a parquet file.",
        )
    for path in files:
        yield from _parquet_members(path)


def problem_folders(root: Path) -> tuple[Path, ...]:
    """List every problem folder below a directory, nested ones too, in name order; hidden folders are left out."""
    if not root.is_dir():
        return ()
    found = (path.parent for path in root.rglob(DEFINITION_FILE) if path.is_file())
    return tuple(
        sorted(folder for folder in found if not any(part.startswith(".") for part in folder.relative_to(root).parts))
    )


def _read_member(folder: Path, root: Path, device_kind: str) -> SetMember:
    place = folder.relative_to(root).as_posix()
    try:
        definition = read_definition(folder / DEFINITION_FILE)
        specific = folder / f"workload.{device_kind}.jsonl"
        path = specific if specific.is_file() else folder / WORKLOAD_FILE
        return _member(place, definition, read_workloads(path), where=str(path))
    except (InvalidInput, RecursionError) as error:
        return SetMember(place=place, problem=None, reason=str(error))


def _member(place: str, definition: Definition, workloads: tuple[Workload, ...], *, where: str) -> SetMember:
    if not workloads:
        raise InvalidInput(f"{where}: holds no workload.", remedy="Write one JSON object a line.")
    return SetMember(place=place, problem=Problem(definition=definition, workloads=workloads))


def _parquet_members(path: Path) -> Iterator[SetMember]:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingTool(
            f"{path} is a parquet file, and pyarrow is not installed.",
            remedy="pip install pyarrow, or give the set as problem folders.",
        ) from error
    try:
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=ROWS_A_BATCH):
            yield from (member_of_row(row, subset=path.stem) for row in batch.to_pylist())
    except (OSError, ValueError) as error:
        # pyarrow's own errors derive from these two.
        yield SetMember(place=path.name, problem=None, reason=f"{path}: cannot be read as parquet: {error}")


def member_of_row(row: Mapping[str, JsonValue], *, subset: str) -> SetMember:
    """Read one row of the public table: a definition, its structured columns and workloads as JSON text."""
    place = f"{subset}/{row.get('name') or 'unnamed'}"
    try:
        fields = {key: _decoded(value, key, place) if key in _ENCODED else value for key, value in row.items()}
        listed = _listed(fields.pop("workloads", None), place)
        # A table writes an absent value as null, and the format knows absent fields alone.
        definition = validated(Definition, {key: one for key, one in fields.items() if one is not None}, where=place)
        workloads = validated_lines(Workload, enumerate(listed, start=1), where=place)
        return _member(place, definition, workloads, where=place)
    except InvalidInput as error:
        return SetMember(place=place, problem=None, reason=str(error))


def _listed(value: JsonValue, place: str) -> list[JsonValue]:
    if not isinstance(value, list):
        raise InvalidInput(f"{place}: workloads is no list.", remedy="Give a JSON list of objects.")
    return value


def _decoded(value: JsonValue, column: str, place: str) -> JsonValue:
    """Parse a structured column; one that is no text is already parsed."""
    if not isinstance(value, str):
        return value
    where = f"{place}: {column}"
    decoded = parse_json(value, where=where)
    # Tables made by other tools hold each workload as text once more.
    if isinstance(decoded, list):
        return [parse_json(one, where=where) if isinstance(one, str) else one for one in decoded]
    return decoded
