"""Owns source text as the report shows it: numbered lines and line-by-line differences; pure."""

import difflib
from collections import Counter
from typing import Literal

from deep_agent.executor.report.content import SearchStep
from deep_agent.problem.solution import Solution
from deep_agent.problem.value import FrozenValue


class SourceLine(FrozenValue):
    """One line of a listing."""

    number: int | None
    """Line number in the file; None for a line that is no longer there, or a heading."""
    kind: Literal["same", "added", "removed", "heading"]
    text: str


class FailureGroup(FrozenValue):
    """Attempts that failed in the same way."""

    status: str
    message: str
    attempts: tuple[int, ...]


def listing(solution: Solution) -> tuple[SourceLine, ...]:
    """Number the lines of every file of a solution, each file under its path."""
    lines: list[SourceLine] = []
    for source in solution.sources:
        lines.append(SourceLine(number=None, kind="heading", text=source.path))
        lines += [
            SourceLine(number=number, kind="same", text=text)
            for number, text in enumerate(source.content.splitlines(), start=1)
        ]
    return tuple(lines)


def difference(first: Solution, last: Solution) -> tuple[SourceLine, ...]:
    """Compare two solutions file by file, with three lines of context; empty when they are equal."""
    before = {source.path: source.content for source in first.sources}
    after = {source.path: source.content for source in last.sources}
    lines: list[SourceLine] = []
    for path in sorted({*before, *after}):
        lines += _file_difference(path, before.get(path, ""), after.get(path, ""))
    return tuple(lines)


def _file_difference(path: str, before: str, after: str) -> list[SourceLine]:
    old, new = before.splitlines(), after.splitlines()
    lines: list[SourceLine] = []
    for group in difflib.SequenceMatcher(a=old, b=new, autojunk=False).get_grouped_opcodes(3):
        lines.append(SourceLine(number=None, kind="heading", text=f"{path}, from line {group[0][3] + 1}"))
        for tag, old_from, old_to, new_from, new_to in group:
            if tag != "equal":
                lines += [SourceLine(number=None, kind="removed", text=text) for text in old[old_from:old_to]]
            kind: Literal["same", "added"] = "same" if tag == "equal" else "added"
            lines += [
                SourceLine(number=number, kind=kind, text=new[number - 1]) for number in range(new_from + 1, new_to + 1)
            ]
    return lines


def failure_groups(steps: tuple[SearchStep, ...]) -> tuple[FailureGroup, ...]:
    """Gather failed attempts by status and first line of their message, most frequent first."""
    failed = [step for step in steps if step.outcome in {"failed", "error"}]
    keys = [(step.status or step.outcome, (step.message.strip().splitlines() or [""])[0]) for step in failed]
    return tuple(
        FailureGroup(
            status=status,
            message=message,
            attempts=tuple(step.number for step, key in zip(failed, keys, strict=True) if key == (status, message)),
        )
        for (status, message), _ in Counter(keys).most_common()
    )
