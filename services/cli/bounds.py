"""Owns the command `bound`: one problem, or a whole directory of them, row by row."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from deep_agent.errors import InvalidInput
from deep_agent.problem.sets import is_problem_set
from deep_agent.problem.value import FrozenValue
from services.application import Application
from services.cli import terminal
from services.cli.explain import duration, explanation, figures_table
from services.cli.inspect import located
from services.cli.opening import opened
from services.cli.rowfile import RowFile

if TYPE_CHECKING:
    from deep_agent.executor.application import BoundReport
    from deep_agent.executor.bound_set import BoundRow, MemberRows


class Asked(FrozenValue):
    """What was asked, as it was typed."""

    problem: str
    device: str
    explain: bool = False
    json_out: bool = False
    out: Path | None = None


def run(asked: Asked) -> int:
    """Compute and tell bounds; gives the exit code: 1 when every row of a set failed."""
    if is_problem_set(Path(asked.problem)):
        if asked.explain:
            raise InvalidInput("--explain tells of one problem.", remedy="Name a problem folder.")
        return _run_set(asked)
    if asked.out is not None:
        raise InvalidInput("--out is for a directory of problems.", remedy="Leave it out, or name such a directory.")
    with opened() as application:
        report = application.bound(located(asked.problem), device=asked.device)
    if asked.json_out:
        terminal.print_json(bound_json(report))
    else:
        _print(report, explain=asked.explain)
    return terminal.OK


def bound_json(report: "BoundReport") -> dict[str, object]:
    """Give the published object of a problem's bounds."""
    sizes = {workload.uuid: workload.axes for workload in report.problem.workloads}
    return {
        "problem": report.problem.name,
        "device": report.device.name,
        "bound_kind": report.device.bound_kind,
        "workloads": [
            {"uuid": one.workload, "axes": sizes[one.workload]} | one.model_dump(mode="json", exclude={"workload"})
            for one in report.bounds
        ],
    }


def _print(report: "BoundReport", *, explain: bool) -> None:
    console = terminal.out()
    console.print(f"{report.problem.name} on {report.device.name} ({report.device.bound_kind} rates)", markup=False)
    console.print(figures_table(report))
    if explain:
        for part in explanation(report):
            console.print(part, soft_wrap=False)
    else:
        console.print("--explain says what each figure means and is made of", style="dim")


def _run_set(asked: Asked) -> int:
    with opened() as application:
        if asked.out is None:
            return _SetRun(application, asked, None).run()
        with RowFile(asked.out) as file:
            return _SetRun(application, asked, file).run()


class _SetRun:
    """One run over a set: where rows go, and how many of each kind there are."""

    def __init__(self, application: Application, asked: Asked, file: RowFile | None) -> None:
        self._application = application
        self._asked = asked
        self._file = file
        self._kept = () if file is None else file.kept
        self._rows: list[BoundRow] = []
        self._n_ended = 0
        self._device = application.device_name(asked.device)

    def run(self) -> int:
        done = frozenset((str(row.get("problem")), _text(row.get("workload"))) for row in self._kept)
        self._refuse_another_device()
        found = self._application.bound_set(
            str(Path(self._asked.problem).resolve()), device=self._asked.device, done=done
        )
        # Closed even by Ctrl-C, so that members which have not begun are let go.
        try:
            with closing(found):
                for member in found:
                    self._take(member)
        except KeyboardInterrupt:
            if self._file is not None:
                terminal.err().print(
                    f"stopped; rows so far are in {self._asked.out}. The same command goes on from there."
                )
            raise
        self._close()
        errors = [*(row.error for row in self._rows), *(row.get("error") for row in self._kept)]
        return terminal.FAILED if errors and all(errors) else terminal.OK

    def _refuse_another_device(self) -> None:
        """Refuse to mix two devices in one file."""
        known = {bounds.get("device") for row in self._kept if isinstance(bounds := row.get("bounds"), dict)}
        if known - {self._device}:
            raise InvalidInput(
                f"{self._asked.out}: holds bounds of {', '.join(sorted(map(str, known)))}, not of {self._device}.",
                remedy="Name another --out for another device.",
            )

    def _take(self, member: "MemberRows") -> None:
        self._n_ended += 1
        self._rows += member.rows
        rows = [row_json(row, device=self._device) for row in member.rows]
        if self._file is not None:
            self._file.add(rows)
        elif self._asked.json_out:
            for row in rows:
                terminal.print_json(row)
        terminal.err().print(_progress(member, self._n_ended), markup=False, soft_wrap=True)

    def _close(self) -> None:
        if self._asked.json_out and self._file is None:
            return
        failed = sum(row.error is not None for row in self._rows)
        if self._asked.json_out:
            told = {"out": str(self._asked.out), "rows": len(self._rows), "failed": failed, "kept": len(self._kept)}
            terminal.print_json(told)
            return
        if self._file is None:
            terminal.out().print(_table(self._rows))
        kept = f", {len(self._kept)} were there before" if self._kept else ""
        terminal.out().print(f"{len(self._rows)} rows, {failed} without a bound{kept}", markup=False)


def row_json(row: "BoundRow", *, device: str) -> dict[str, object]:
    """Give the published object of one row; the device stands in its bounds, so that rows of two are told apart."""
    shown = row.model_dump(mode="json")
    if row.bounds is not None:
        shown["bounds"] = {"device": device} | shown["bounds"]
    return shown


def _table(rows: "list[BoundRow]") -> object:
    table = terminal.plain_table("Problem", "Workload", ">Bound", "Limited by", "Tier", "Why there is none")
    for row in sorted(rows, key=lambda one: (one.problem, one.workload or "")):
        time = "-" if row.bounds is None else duration(row.bounds.strict_us)
        cells = (row.problem, row.workload or "-", time, row.limiter or "-", str(row.tier or "-"), row.error or "")
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _progress(member: "MemberRows", n_ended: int) -> str:
    failed = sum(row.error is not None for row in member.rows)
    parts = [f"{len(member.rows) - failed} bounds"]
    parts += [f"{failed} without"] if failed else []
    parts += [f"{member.n_kept} kept"] if member.n_kept else []
    return f"{n_ended}/{member.n_members} {member.place}: {', '.join(parts)}"


def _text(value: object) -> str | None:
    return None if value is None else str(value)
