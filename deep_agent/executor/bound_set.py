"""Owns bounding a whole problem set: a row a workload, in parallel, with a reason in each row that has no bound.

Nothing that one problem does stops the others; what this machine lacks does, since it would fail them all.
"""

import os
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Literal

from deep_agent.errors import DeepAgentError, MissingTool, ResourceExhausted
from deep_agent.ports import Analyst
from deep_agent.problem.analysis import Analysis
from deep_agent.problem.bound import Figures, SolBound
from deep_agent.problem.device import DeviceModel
from deep_agent.problem.problem import Problem
from deep_agent.problem.sets import SetMember, set_members
from deep_agent.problem.value import FrozenValue

RowKey = tuple[str, str | None]
"""Problem and workload; None stands for a problem that could not be read."""
MOST_WORKERS = 16
"""Tracing processes at once; each holds torch and up to a few hundred megabytes of inputs."""


class BoundRow(FrozenValue):
    """The bounds of one workload of a set, or why there are none."""

    problem: str
    """The definition's name; its place in the set where it could not be read."""
    workload: str | None
    bounds: Figures | None = None
    limiter: Literal["memory", "compute"] | None = None
    tier: Literal[1, 2, 3] | None = None
    error: str | None = None

    @property
    def key(self) -> RowKey:
        """What the row is about."""
        return self.problem, self.workload


class MemberRows(FrozenValue):
    """The new rows of one member of a set."""

    place: str
    rows: tuple[BoundRow, ...]
    n_kept: int
    """Workloads whose rows were there already."""
    n_members: int
    """Members of the whole set."""


class BoundSet:
    """A set to bound on one device."""

    def __init__(self, analyst: Analyst, device: DeviceModel, *, done: frozenset[RowKey] = frozenset()) -> None:
        """Keep who traces, what for, and the rows that need not be made again."""
        self._analyst = analyst
        self._device = device
        self._done = done

    def rows(self, root: Path, *, n_workers: int | None = None) -> Generator[MemberRows, None, None]:
        """Give the rows of each member as soon as they are there; members overtake each other.

        Close the generator to let what has not begun go.

        Raises:
            InvalidInput: the directory holds no problem.
            MissingTool: torch or pyarrow is absent.
            ResourceExhausted: the disk is full.
        """
        members = tuple(_named_apart(set_members(root, self._device.kind)))
        pool = ThreadPoolExecutor(max_workers=max(1, min(n_workers or usable_cores(), MOST_WORKERS, len(members))))
        pending: set[Future[MemberRows]] = set()
        try:
            pending = {pool.submit(self._of_member, one, len(members)) for one in members}
            while pending:
                ended, pending = wait(pending, return_when=FIRST_COMPLETED)
                for one in ended:
                    yield one.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            if pending:
                self._analyst.cancel()

    def _of_member(self, member: SetMember, n_members: int) -> MemberRows:
        rows, n_kept = self._unread(member) if member.problem is None else self._of_problem(member.problem)
        return MemberRows(place=member.place, rows=rows, n_kept=n_kept, n_members=n_members)

    def _unread(self, member: SetMember) -> tuple[tuple[BoundRow, ...], int]:
        row = BoundRow(problem=member.place, workload=None, error=member.reason)
        return ((), 1) if row.key in self._done else ((row,), 0)

    def _of_problem(self, problem: Problem) -> tuple[tuple[BoundRow, ...], int]:
        left = tuple(one for one in problem.workloads if (problem.name, one.uuid) not in self._done)
        n_kept = len(problem.workloads) - len(left)
        if not left:
            return (), n_kept
        return self._surveyed(problem.model_copy(update={"workloads": left})), n_kept

    def _surveyed(self, problem: Problem) -> tuple[BoundRow, ...]:
        """Bound the workloads together; where that fails as a whole, apart, so that one costs itself alone."""
        found = self._survey(problem)
        if isinstance(found, Analysis):
            return _rows(problem, found)
        if len(problem.workloads) == 1:
            return _failed(problem, found)
        apart = [problem.model_copy(update={"workloads": (one,)}) for one in problem.workloads]
        first = self._survey(apart[0])
        if first == found:
            # The reference itself is at fault, and would be again at every size.
            return _failed(problem, found)
        rows = _rows(apart[0], first) if isinstance(first, Analysis) else _failed(apart[0], first)
        return (*rows, *(row for one in apart[1:] for row in self._surveyed(one)))

    def _survey(self, problem: Problem) -> Analysis | str:
        """Ask the analyst; a fault of the problem or of its process is a reason, a lack of this machine raises."""
        try:
            return self._analyst.survey(problem, self._device)
        except (MissingTool, ResourceExhausted):
            raise
        except DeepAgentError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - the door of a row: whatever one problem provokes is its reason
            return f"{type(error).__name__}: {error}"


def _named_apart(members: Iterable[SetMember]) -> Iterator[SetMember]:
    """Refuse the second problem of a name: its rows could not be told from the first one's."""
    places: dict[str, str] = {}
    for one in members:
        first = one.problem and places.setdefault(one.problem.name, one.place)
        if first and first != one.place:
            assert one.problem is not None
            reason = f"{first} holds a problem named {one.problem.name!r} too; rename one of them."
            yield one.model_copy(update={"problem": None, "reason": reason})
        else:
            yield one


def usable_cores() -> int:
    """Count the processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _rows(problem: Problem, found: Analysis) -> tuple[BoundRow, ...]:
    bounds = {one.workload: one for one in found.bounds}
    return tuple(
        _row(problem.name, one.uuid, bounds.get(one.uuid), found.failures.get(one.uuid)) for one in problem.workloads
    )


def _row(problem: str, workload: str, bound: SolBound | None, failure: str | None) -> BoundRow:
    if bound is None:
        return BoundRow(problem=problem, workload=workload, error=failure or "the analyst said nothing of it")
    return BoundRow(
        problem=problem,
        workload=workload,
        bounds=bound.bounds or Figures(strict_us=bound.time_us),
        limiter=bound.limiter,
        tier=bound.tier,
    )


def _failed(problem: Problem, reason: str) -> tuple[BoundRow, ...]:
    return tuple(BoundRow(problem=problem.name, workload=one.uuid, error=reason) for one in problem.workloads)
