"""Owns what the judging of a set is told and what it leaves: SetRequest, SetReport, SetRefusal; does nothing."""

from collections.abc import Mapping
from pathlib import Path

from deep_agent.problem.trace import EvaluationStatus
from deep_agent.problem.value import FrozenValue


class SetRequest(FrozenValue):
    """Which solutions to judge on which problems, and where the traces go."""

    problems: Path
    """Folder with problem folders in it, at any depth."""
    solutions: Path
    """Folder with solution files in it, at any depth."""
    out: Path
    """Trace file; rows already there are kept."""
    device: str


class SetRefusal(FrozenValue):
    """A file or folder that could not take part, or a verdict that could not be reached, with its reason."""

    place: str
    reason: str


class SetReport(FrozenValue):
    """How a set went; counts are rows, one a workload, of the solutions found this time."""

    device: str
    n_problems: int
    n_solutions: int
    n_written: int
    n_kept: int
    """Rows that an earlier run had written."""
    statuses: Mapping[EvaluationStatus, int]
    """Of written and kept rows."""
    refused: tuple[SetRefusal, ...]
    same_content: tuple[str, ...]
    """Solution files that hold what another one holds; they share its rows."""

    @property
    def passed(self) -> bool:
        """Whether every row passed and nothing was refused."""
        return not self.refused and set(self.statuses) <= {EvaluationStatus.PASSED}
