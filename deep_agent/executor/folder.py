"""Owns where a job's files lie and how they get there; touches files."""

import contextlib
import os
import re
import tempfile
from pathlib import Path

from deep_agent.errors import ResourceExhausted
from deep_agent.htdag.goal import Goal


class JobFolder:
    """`<home>/jobs/<job>`: one report, and one folder a problem."""

    def __init__(self, home: Path, job_id: str) -> None:
        """Name the folder; it is made by the first `put`."""
        self.path = home.absolute() / "jobs" / job_id

    @property
    def report(self) -> Path:
        """Where the report lies."""
        return self.path / "report.html"

    def problem(self, goal: Goal, problem: str, name: str) -> Path:
        """Name the folder of one problem.

        Args:
            goal: the job's; with several problems their order keeps equal names apart.
            problem: the problem as the goal spells it.
            name: the definition's name; what cannot stand in a file name is replaced.
        """
        safe = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).lstrip(".") or "problem"
        if len(goal.problems) == 1:
            return self.path / safe
        return self.path / f"{goal.problems.index(problem) + 1:02d}-{safe}"


def put(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old text or the new one, never a part.

    Raises:
        ResourceExhausted: the disk is full, or the folder cannot be written.
    """
    staged: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, staged = tempfile.mkstemp(dir=path.parent, prefix=".staged-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(staged).chmod(0o644)
        Path(staged).replace(path)
    except OSError as error:
        if staged is not None:
            with contextlib.suppress(OSError):
                Path(staged).unlink(missing_ok=True)
        raise ResourceExhausted(
            f"cannot write {path}: {error.strerror}.", remedy="Free disk space or choose another DEEP_AGENT_HOME."
        ) from error
