"""Reads what the system tells of an arm's processes: which may run, which live. Reads /proc; changes nothing."""

import os
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
    """Whether a thread of a process, or of one below it, may run although both were stopped; what is gone does not.

    Processes below that have left the group are not asked about: no signal to it arrives, and `census` counts them.
    """
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return False
    return any(_thread_may_run(task) for task in tasks) or any(
        may_run(child, group) for task in tasks for child in _children(task) if _group(child) == group
    )


def _thread_may_run(task: Path) -> bool:
    try:
        state = (task / "stat").read_text().rpartition(")")[2].split(maxsplit=1)[0]
    except OSError:
        return False
    return state not in _STOPPED


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except OSError:
        return None


def _children(task: Path) -> list[int]:
    """Give the processes that a thread has started; none where the system does not tell."""
    try:
        return [int(child) for child in (task / "children").read_text().split()]
    except OSError:
        return []
