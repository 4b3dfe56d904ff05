"""Judges a set, solution by solution, and keeps every row the moment it is known. Asks the judge; writes files.

Builds of the next solutions run beside each other before their turn, never while something is timed. Whatever
becomes of one solution, the others are judged; only files that cannot be written end the whole.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from deep_agent.errors import DeepAgentError, InvalidInput
from deep_agent.executor.artefact.circumstances import libraries, made_at
from deep_agent.executor.physics import judged_with_doubt
from deep_agent.executor.sets.collection import Collection, Entry, collect
from deep_agent.executor.sets.ledger import Ledger, RowKey
from deep_agent.executor.sets.rows import Circumstances, invalid_reference_rows, judged_rows
from deep_agent.executor.sets.values import SetRefusal, SetReport, SetRequest
from deep_agent.ports import Clock, Judge, ignore_progress
from deep_agent.problem.bound import SolBound
from deep_agent.problem.device import DeviceModel
from deep_agent.problem.evaluation import EvaluationRequest
from deep_agent.problem.problem import Problem
from deep_agent.problem.trace import EvaluationStatus, Trace

BUILD_WINDOW = 16
"""Solutions built ahead at once: enough to keep every core busy, few enough to see the first row soon."""


def judge_set(
    request: SetRequest,
    device: DeviceModel,
    judge: Judge,
    clock: Clock,
    bounds_of: Callable[[Problem], Sequence[SolBound]],
    progress: Callable[[str], None] = ignore_progress,
) -> SetReport:
    """Judge every solution of a set that has no row yet.

    Args:
        request: which folders, and where the rows go.
        device: what it is judged on.
        judge: who judges.
        clock: dates the rows.
        bounds_of: gives what times of a problem are held against; asked once a problem.
        progress: told what is being done, in words.

    Raises:
        InvalidInput: there is no problem or no solution, or the trace file holds something else.
        Conflict: another process writes the trace file.
        ResourceExhausted: the trace file cannot be written.
    """
    found = collect(request.problems, request.solutions, device)
    for refusal in found.refused:
        progress(f"refused: {refusal.place}: {refusal.reason}")
    with Ledger(request.out) as ledger:
        sitting = _Sitting(found, device, judge, clock, ledger, bounds_of, progress)
        sitting.run()
        return sitting.report()


@dataclass
class _Sitting:
    """One run over one set."""

    found: Collection
    device: DeviceModel
    judge: Judge
    clock: Clock
    ledger: Ledger
    bounds_of: Callable[[Problem], Sequence[SolBound]]
    progress: Callable[[str], None]
    n_written: int = 0
    bounds: dict[Path, Sequence[SolBound]] = field(default_factory=dict)
    refused: list[SetRefusal] = field(default_factory=list)

    def run(self) -> None:
        waiting = [entry for entry in self.found.entries if self._missing(entry)]
        n_done = len(self.found.entries) - len(waiting)
        if n_done:
            self.progress(f"{n_done} of {len(self.found.entries)} solutions have all their rows already")
        for window in _windows(waiting):
            self._build_ahead(window)
            for entry in window:
                n_done += 1
                verdict = self._judge(entry)
                place = f"[{n_done}/{len(self.found.entries)}] {entry.problem.name}: {entry.solution.name}"
                self.progress(f"{place}: {verdict}")

    def report(self) -> SetReport:
        statuses: Counter[EvaluationStatus] = Counter()
        n_rows = 0
        for entry in self.found.entries:
            for key in self._keys(entry):
                if key in self.ledger.statuses:
                    statuses[self.ledger.statuses[key]] += 1
                    n_rows += 1
        return SetReport(
            device=self.device.name,
            n_problems=self.found.n_problems,
            n_solutions=len(self.found.entries),
            n_written=self.n_written,
            n_kept=n_rows - self.n_written,
            statuses=dict(statuses),
            refused=(*self.found.refused, *self.refused),
            same_content=self.found.same_content,
        )

    def _keys(self, entry: Entry) -> tuple[RowKey, ...]:
        problem, content_hash = entry.problem, entry.solution.content_hash
        return tuple(
            RowKey.of(content_hash, problem.definition, workload, self.device.name) for workload in problem.workloads
        )

    def _missing(self, entry: Entry) -> set[RowKey]:
        return {key for key in self._keys(entry) if key not in self.ledger.statuses}

    def _build_ahead(self, window: Sequence[Entry]) -> None:
        """Fill the judge's cache on every core; whatever goes wrong shows again, with its reason, when judged."""
        compiled = [entry for entry in window if not entry.solution.spec.is_python]
        if not compiled:
            return
        self.progress(f"building {len(compiled)} solution{'' if len(compiled) == 1 else 's'} ahead")
        pool = ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="build-ahead")
        try:
            builds = [pool.submit(self.judge.build, entry.solution, self.device.name) for entry in compiled]
            for build in builds:
                build.exception()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _judge(self, entry: Entry) -> str:
        """Judge one solution and keep its rows; gives the verdict in words."""
        try:
            rows = self._rows(entry)
        except DeepAgentError as error:
            self.refused.append(SetRefusal(place=str(entry.file), reason=f"not judged: {error}"))
            return f"not judged: {error}"
        missing = self._missing(entry)
        kept = [
            (key, row)
            for row in rows
            if (key := RowKey.of(entry.solution.content_hash, entry.problem.definition, row.workload, self.device.name))
            in missing
        ]
        self.ledger.add(kept)
        self.n_written += len(kept)
        if self._missing(entry):
            reason = "some workloads were not timed; run again to judge them."
            self.refused.append(SetRefusal(place=str(entry.file), reason=reason))
        return _words(rows)

    def _rows(self, entry: Entry) -> tuple[Trace, ...]:
        request = EvaluationRequest(
            problem_dir=str(entry.folder), solution=entry.solution, device=self.device.name, profile="gate"
        )
        try:
            evaluation = judged_with_doubt(self.judge, request, self._bounds(entry), self.progress)
        except InvalidInput as error:
            if not _blames_reference(entry, error):
                raise
            return invalid_reference_rows(entry.problem, entry.solution, str(error), self._circumstances())
        return judged_rows(entry.problem, entry.solution, evaluation, self._circumstances())

    def _bounds(self, entry: Entry) -> Sequence[SolBound]:
        if entry.folder not in self.bounds:
            self.bounds[entry.folder] = self.bounds_of(entry.problem)
        return self.bounds[entry.folder]

    def _circumstances(self) -> Circumstances:
        hardware = self.device.hardware or self.device.name
        return Circumstances(hardware=hardware, made_at=made_at(self.clock.now_s()), libs=libraries())


def _windows(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    for start in range(0, len(entries), BUILD_WINDOW):
        yield entries[start : start + BUILD_WINDOW]


def _blames_reference(entry: Entry, error: InvalidInput) -> bool:
    """Whether the judge ran the reference and found it wanting, rather than the machine too small for a workload."""
    return error.message.startswith(f"definition {entry.problem.name!r}: the reference")


def _words(rows: Sequence[Trace]) -> str:
    """Sum a solution's rows up in a line: what failed first, else how fast it is."""
    found = [row.evaluation for row in rows if row.evaluation is not None]
    failed = next((one for one in found if one.status is not EvaluationStatus.PASSED), None)
    if failed is not None:
        return f"{failed.status}: {failed.log.strip().splitlines()[0][:200] if failed.log.strip() else ''}"
    factors = [one.performance.speedup_factor for one in found if one.performance is not None]
    return f"PASSED, {min(factors):.2f}x to {max(factors):.2f}x" if factors else "no row"
