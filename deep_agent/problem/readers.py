"""Owns reading problem folders, solutions and traces from disk; does not run anything it reads."""

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from deep_agent.errors import InvalidInput
from deep_agent.problem.axes import ConstAxis, ExprAxis, VarAxis
from deep_agent.problem.definition import Definition
from deep_agent.problem.footprint import check_sizes
from deep_agent.problem.problem import Problem
from deep_agent.problem.solution import Solution
from deep_agent.problem.strict_json import dump_line, parse_json, parse_lines, read_text
from deep_agent.problem.trace import Trace
from deep_agent.problem.validation import validated, validated_lines
from deep_agent.problem.value import FrozenValue
from deep_agent.problem.workload import Workload

DEFINITION_FILE = "definition.json"
WORKLOAD_FILE = "workload.jsonl"


def read_problem(directory: Path, device_kind: Literal["cpu", "cuda"], *, strict: bool = False) -> Problem:
    """Read a problem folder.

    Workloads come from `workload.<device_kind>.jsonl` where it exists, else from `workload.jsonl`.

    Args:
        directory: holds `definition.json` and at least one workload file.
        device_kind: which sizes to take.
        strict: refuse what the public format lets pass and our own problems must not do: a
            workload that sets a const or expr axis, an unknown axis, a uuid used twice.

    Raises:
        InvalidInput: no such folder or file, a field is wrong, or a shape overflows; the message
            names file, line, field and remedy.
    """
    _require_problem_directory(directory)
    definition = read_definition(directory / DEFINITION_FILE)
    specific = directory / f"workload.{device_kind}.jsonl"
    path = specific if specific.is_file() else directory / WORKLOAD_FILE
    workloads = read_workloads(path)
    if not workloads:
        raise InvalidInput(f"{path}: holds no workload.", remedy="Write one JSON object a line.")
    for workload in workloads:
        try:
            check_sizes(definition, workload)
            if strict:
                _refuse_stray_axes(definition, workload)
        except InvalidInput as error:
            raise InvalidInput(f"{path}: {error.message}", remedy=error.remedy) from error
    if strict:
        _refuse_repeated_uuids(path, workloads)
    return Problem(definition=definition, workloads=workloads)


def read_definition(path: Path) -> Definition:
    """Read one `definition.json`; raises InvalidInput as `read_problem` does."""
    return validated(Definition, parse_json(read_text(path), where=str(path)), where=str(path))


def read_workloads(path: Path) -> tuple[Workload, ...]:
    """Read a JSONL file of workloads, in order; raises InvalidInput as `read_problem` does."""
    return validated_lines(Workload, parse_lines(read_text(path), where=str(path)), where=str(path))


def read_solution(path: Path) -> Solution:
    """Read a `solution.json`; a source with empty content is filled from the file beside the JSON.

    Raises:
        InvalidInput: a field is wrong, or a file to fill in is missing or lies outside the folder.
    """
    where = str(path)
    solution = validated(Solution, parse_json(read_text(path), where=where), where=where)
    folder = path.parent.resolve()
    filled = []
    for source in solution.sources:
        if source.content:
            filled.append(source)
            continue
        beside = (folder / source.path).resolve()
        if not beside.is_relative_to(folder):
            raise InvalidInput(
                f"{where}: source {source.path!r} leads outside {folder}.", remedy="Copy the file there."
            )
        filled.append(source.model_copy(update={"content": read_text(beside)}))
    return solution.model_copy(update={"sources": tuple(filled)})


def read_traces(path: Path) -> tuple[Trace, ...]:
    """Read a JSONL file of traces, in order; raises InvalidInput as `read_problem` does."""
    return validated_lines(Trace, parse_lines(read_text(path), where=str(path)), where=str(path))


def write_traces(path: Path, traces: Iterable[Trace]) -> None:
    """Write traces as strict JSONL; the file appears whole or not at all.

    Raises:
        InvalidInput: a trace holds NaN or an infinity, which JSON cannot say.
    """
    text = "".join(
        dump_line(trace.model_dump(mode="json"), where=f"{path}: trace {number}")
        for number, trace in enumerate(traces, start=1)
    )
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


class ReadProblem(FrozenValue):
    """One folder of a problem set that could be read."""

    directory: Path
    problem: Problem


class RefusedProblem(FrozenValue):
    """One folder of a problem set that could not be read, and why."""

    directory: Path
    reason: str


def iterate_problems(
    root: Path, device_kind: Literal["cpu", "cuda"], *, strict: bool = False
) -> Iterator[ReadProblem | RefusedProblem]:
    """Read a folder of problem folders one at a time, in name order.

    A folder that is itself a problem gives that problem alone. A folder that cannot be read gives
    its reason and does not stop the others.

    Raises:
        InvalidInput: `root` is no folder, or holds no problem folder.
    """
    directories = problem_directories(root)
    if not directories:
        raise InvalidInput(f"{root}: holds no problem folder.", remedy=f"A problem folder holds {DEFINITION_FILE}.")
    for directory in directories:
        try:
            yield ReadProblem(directory=directory, problem=read_problem(directory, device_kind, strict=strict))
        except InvalidInput as error:
            yield RefusedProblem(directory=directory, reason=str(error))


def problem_directories(root: Path) -> tuple[Path, ...]:
    """List the problem folders that `root` is or holds, in name order; empty when there are none."""
    if (root / DEFINITION_FILE).is_file():
        return (root,)
    if not root.is_dir():
        return ()
    return tuple(sorted(child for child in root.iterdir() if (child / DEFINITION_FILE).is_file()))


def _require_problem_directory(directory: Path) -> None:
    if (directory / DEFINITION_FILE).is_file():
        return
    if directory.is_dir():
        inside = [child.name for child in problem_directories(directory)]
        remedy = f"Name one of the problems in it: {', '.join(inside[:8])}." if inside else "Add the file."
        raise InvalidInput(f"{directory}: holds no {DEFINITION_FILE}.", remedy=remedy)
    known = [child.name for child in problem_directories(directory.parent)]
    close = difflib.get_close_matches(directory.name, known, n=3, cutoff=0.5)
    if close:
        remedy = f"Did you mean {' or '.join(close)}?"
    elif known:
        remedy = f"{directory.parent} holds: {', '.join(known[:24])}."
    else:
        remedy = "Give the path of a problem folder."
    raise InvalidInput(f"{directory}: no such problem folder.", remedy=remedy)


def _refuse_stray_axes(definition: Definition, workload: Workload) -> None:
    for name in workload.axes:
        axis = definition.axes.get(name)
        if isinstance(axis, VarAxis):
            continue
        if isinstance(axis, ConstAxis | ExprAxis):
            reason = f"sets axis {name!r}, which the definition fixes ({axis.type})"
        else:
            reason = f"sets axis {name!r}, which the definition does not declare"
        raise InvalidInput(f"workload {workload.uuid!r}: {reason}.", remedy="Give sizes of var axes only.")


def _refuse_repeated_uuids(path: Path, workloads: tuple[Workload, ...]) -> None:
    seen: set[str] = set()
    for workload in workloads:
        if workload.uuid in seen:
            raise InvalidInput(f"{path}: uuid {workload.uuid!r} is used twice.", remedy="Give each workload its own.")
        seen.add(workload.uuid)
