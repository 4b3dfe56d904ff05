"""Reads what the system tells of an arm's processes: which may run, which live. Reads /proc; changes nothing."""

from pathlib import Path
from typing import Final

import psutil

_STOPPED: Final = frozenset("TtZXx")
"""States of a thread that no processor runs: stopped, or dead."""


def census(pid: int) -> tuple[int, float]:
    """Count the processes below one that live, and the processor time, in us, of those that ended."""
    try:
        process = psutil.Process(pid)
        living = [child for child in process.children(recursive=True) if child.status() != psutil.STATUS_ZOMBIE]
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0, 0.0
    return len(living), (times.children_user + times.children_system) * 1e6


def may_run(pid: int, group: int) -> bool:
    """Whether a thread of a process, or of one below it, may run although its group was stopped; what is gone does not.

    Who has left the group is not asked about: no signal to it arrives, and `census` counts it.
    """
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return False
    return any(_thread_may_run(task, group) for task in tasks) or any(
        may_run(child, group) for task in tasks for child in _children(task)
    )


def _thread_may_run(task: Path, group: int) -> bool:
    try:
        state, _, its_group, *_ = (task / "stat").read_text().rpartition(")")[2].split(maxsplit=3)
    except OSError:
        return False
    return int(its_group) == group and state not in _STOPPED


def _children(task: Path) -> list[int]:
    """Give the processes that a thread has started; none where the system does not tell."""
    try:
        return [int(child) for child in (task / "children").read_text().split()]
    except OSError:
        return []
