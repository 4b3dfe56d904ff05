"""Owns the command that judges a whole set: progress to standard error, one table or one JSON object at the end."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

from rich.text import Text

from deep_agent.problem.trace import EvaluationStatus
from services.cli import terminal
from services.cli.opening import by_name, opened

if TYPE_CHECKING:
    from deep_agent.executor.sets.values import SetReport, SetRequest


def run(problems: Path, solutions: Path, *, out: Path, device: str, json_out: bool) -> int:
    """Judge every solution and append traces; gives 0 only when every row passed and nothing was refused."""
    values = by_name("deep_agent.executor.sets.values")
    request = cast(
        "SetRequest",
        values.SetRequest(
            problems=problems.expanduser().absolute(),
            solutions=solutions.expanduser().absolute(),
            out=out.expanduser().absolute(),
            device=device,
        ),
    )
    with opened() as application:
        try:
            report = application.evaluate_set(request, _tell)
        except KeyboardInterrupt:
            _tell(f"stopped; rows so far are in {out}. The same command goes on from there.")
            raise
    if json_out:
        terminal.print_json(set_json(report, out=out))
    else:
        _print(report, out=out)
    return terminal.OK if report.passed else terminal.FAILED


def _tell(line: str) -> None:
    terminal.err().print(line, markup=False, soft_wrap=True)


def set_json(report: "SetReport", *, out: Path) -> dict[str, object]:
    """Give the published object of a set."""
    return {
        "passed": report.passed,
        "device": report.device,
        "traces": str(out),
        "n_problems": report.n_problems,
        "n_solutions": report.n_solutions,
        "n_written": report.n_written,
        "n_kept": report.n_kept,
        "statuses": {status.value: n for status, n in sorted(report.statuses.items())},
        "refused": [one.model_dump() for one in report.refused],
        "same_content": list(report.same_content),
    }


def _print(report: "SetReport", *, out: Path) -> None:
    console = terminal.out()
    table = terminal.plain_table("Status", ">Rows")
    for status in EvaluationStatus:
        if report.statuses.get(status):
            table.add_row(Text(status.value), str(report.statuses[status]))
    if report.refused:
        table.add_row("refused, without rows", str(len(report.refused)))
    console.print(table)
    for one in report.refused:
        console.print(f"refused: {one.place}: {one.reason}", markup=False, soft_wrap=True)
    for words in report.same_content:
        console.print(f"same content: {words}", markup=False, soft_wrap=True)
    n_failed = sum(report.statuses.values()) - report.statuses.get(EvaluationStatus.PASSED, 0)
    summed = f"{report.statuses.get(EvaluationStatus.PASSED, 0)} rows passed, {n_failed} failed"
    console.print(
        f"{summed}; {report.n_written} written and {report.n_kept} kept in {out}", markup=False, soft_wrap=True
    )
