"""Finds the problems and solutions of a set and pairs them. Reads folders; whatever cannot be read is told, not raised."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deep_agent.errors import InvalidInput
from deep_agent.executor.sets.values import SetRefusal
from deep_agent.problem.device import DeviceModel
from deep_agent.problem.problem import Problem
from deep_agent.problem.readers import DEFINITION_FILE, read_problem, read_solution
from deep_agent.problem.solution import Solution

SOLUTION_STEM = "solution"
"""Files whose names start so must be solutions; other JSON files take part when they look like one."""


@dataclass(frozen=True)
class Entry:
    """One solution to judge."""

    file: Path
    solution: Solution
    folder: Path
    """Of its problem."""
    problem: Problem


@dataclass(frozen=True)
class Collection:
    """A set as found on disk."""

    entries: tuple[Entry, ...]
    """By problem name, then by file; no two of one problem have the same content."""
    n_problems: int
    refused: tuple[SetRefusal, ...]
    same_content: tuple[str, ...]
    """Files left out because another one holds the same."""


def collect(problems: Path, solutions: Path, device: DeviceModel) -> Collection:
    """Read a set.

    Raises:
        InvalidInput: there is no problem folder, or no solution file, at all.
    """
    folders = problem_folders(problems)
    files = solution_files(solutions)
    known: dict[str, tuple[Path, Problem]] = {}
    refused: list[SetRefusal] = []
    unreadable: dict[str, str] = {}
    for folder in folders:
        try:
            problem = read_problem(folder, device.kind)
        except InvalidInput as error:
            refused.append(_refusal(folder, error))
            unreadable[folder.name] = str(error)
            continue
        reason = _ambiguity(problem, known)
        if reason:
            refused.append(SetRefusal(place=str(folder), reason=reason))
            unreadable.setdefault(problem.name, reason)
            continue
        known[problem.name] = (folder, problem)
    paired = list(_pair(files, known, unreadable, refused))
    entries, same = _distinct(sorted(paired, key=lambda one: (one.problem.name, str(one.file))))
    return Collection(entries, len(known), tuple(refused), same)


def _ambiguity(problem: Problem, known: dict[str, tuple[Path, Problem]]) -> str:
    """Say what would make rows of a problem mistakable; empty when nothing does."""
    if problem.name in known:
        return f"its definition is called {problem.name!r}, as that of {known[problem.name][0]}. Rename one of them."
    repeated = [uuid for uuid, n in Counter(one.uuid for one in problem.workloads).items() if n > 1]
    return f"uuid {repeated[0]!r} is used twice. Give each workload its own." if repeated else ""


def problem_folders(root: Path) -> tuple[Path, ...]:
    """List every folder below `root`, itself included, that holds a definition, in name order."""
    found = tuple(sorted(file.parent for file in root.rglob(DEFINITION_FILE))) if root.is_dir() else ()
    if not found:
        raise InvalidInput(
            f"{root}: holds no problem folder.",
            remedy=f"A problem folder holds {DEFINITION_FILE} and workload.jsonl; they may be nested in subset folders.",
        )
    return found


def solution_files(root: Path) -> tuple[Path, ...]:
    """List every solution file below `root`, in name order."""
    files = sorted(root.rglob("*.json")) if root.is_dir() else []
    found = tuple(file for file in files if file.stem.startswith(SOLUTION_STEM) or _looks_like_solution(file))
    if not found:
        raise InvalidInput(
            f"{root}: holds no solution file.", remedy="A solution is a solution.json in the public format."
        )
    return found


def _looks_like_solution(file: Path) -> bool:
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(raw, dict) and {"definition", "spec", "sources"} <= set(raw)


def _pair(
    files: tuple[Path, ...],
    known: dict[str, tuple[Path, Problem]],
    unreadable: dict[str, str],
    refused: list[SetRefusal],
) -> Iterator[Entry]:
    for file in files:
        try:
            solution = read_solution(file)
        except InvalidInput as error:
            refused.append(_refusal(file, error))
            continue
        if solution.definition in known:
            folder, problem = known[solution.definition]
            yield Entry(file, solution, folder, problem)
            continue
        why = unreadable.get(solution.definition)
        reason = f"its problem could not be read: {why}" if why else "the set holds no problem of that name."
        refused.append(
            SetRefusal(place=str(file), reason=f"{solution.name!r} is for definition {solution.definition!r}: {reason}")
        )


def _refusal(place: Path, error: InvalidInput) -> SetRefusal:
    return SetRefusal(place=str(place), reason=str(error).removeprefix(f"{place}: "))


def _distinct(entries: list[Entry]) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    first: dict[str, Entry] = {}
    same = []
    for entry in entries:
        twin = first.setdefault(entry.solution.content_hash, entry)
        if twin is not entry:
            same.append(f"{entry.file} holds what {twin.file} holds")
    return tuple(first.values()), tuple(same)
