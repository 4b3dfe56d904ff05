"""Owns the commands that make no job: judge one solution, bound one problem, import one file."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from deep_agent.problem.bound import SolBound
from deep_agent.problem.evaluation import Evaluation, WorkloadEvaluation
from deep_agent.problem.kernelbench import import_kernelbench as write_kernelbench
from deep_agent.problem.readers import read_solution
from services.cli import terminal
from services.cli.opening import opened
from services.views import problem_name

if TYPE_CHECKING:
    from deep_agent.executor.application import BoundReport


def evaluate(problem: str, solution: Path, *, device: str, json_out: bool) -> int:
    """Judge a solution file; gives 0 only when it passed."""
    given = read_solution(solution)
    with opened() as application:
        found = application.evaluate(located(problem), given, device=device)
    if json_out:
        terminal.print_json(evaluation_json(found, problem=problem_name(problem), solution=given.name))
    else:
        _print_evaluation(found)
    return terminal.OK if found.passed else terminal.FAILED


def evaluation_json(found: Evaluation, *, problem: str, solution: str) -> dict[str, object]:
    """Give the published object of one evaluation."""
    return {
        "problem": problem,
        "solution": solution,
        "verdict": found.status.value,
        "message": found.message,
        "workloads": [_workload_json(one) for one in found.workloads],
    }


def _workload_json(one: WorkloadEvaluation) -> dict[str, object]:
    return {
        "uuid": one.uuid,
        "status": one.status.value,
        "time_us": None if one.candidate is None else one.candidate.time_us,
        "speedup": None if one.speedup is None else one.speedup.value,
        "speedup_ci": None if one.speedup is None else [one.speedup.low, one.speedup.high],
        "sol_score": None if one.score is None else one.score.clamped,
    }


def _print_evaluation(found: Evaluation) -> None:
    console = terminal.out()
    table = terminal.plain_table(
        "Workload", "Status", ">Time", ">Baseline", ">Speed-up", ">95 % interval", ">SOL Score"
    )
    for one in found.workloads:
        table.add_row(*(Text(cell) for cell in _cells(one)))
    console.print(table)
    console.print(f"{found.status.value} {found.message}".strip(), markup=False, soft_wrap=True)
    if found.log and not found.passed:
        console.print(found.log[-4000:], markup=False, soft_wrap=True)


def _cells(one: WorkloadEvaluation) -> tuple[str, ...]:
    if one.candidate is None or one.baseline is None or one.speedup is None:
        return one.uuid, one.status.value, "-", "-", "-", "-", "-"
    return (
        one.uuid,
        one.status.value,
        f"{one.candidate.time_us:,.1f} us",
        f"{one.baseline.time_us:,.1f} us",
        f"{one.speedup.value:.2f}x",
        f"{one.speedup.low:.2f}-{one.speedup.high:.2f}",
        "-" if one.score is None else f"{one.score.clamped:.3f}",
    )


def bound(problem: str, *, device: str, explain: bool, json_out: bool) -> int:
    """Compute and tell the bound of every workload."""
    with opened() as application:
        report = application.bound(located(problem), device=device)
    if json_out:
        terminal.print_json(bound_json(report))
    else:
        _print_bound(report, explain=explain)
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


def _print_bound(report: "BoundReport", *, explain: bool) -> None:
    console = terminal.out()
    sizes = {workload.uuid: workload.axes for workload in report.problem.workloads}
    table = terminal.plain_table("Workload", "Sizes", ">Bound", "Limited by", ">Bytes moved", ">Multiply-adds")
    for one in report.bounds:
        written = ", ".join(f"{axis} {size}" for axis, size in sizes[one.workload].items())
        macs = f"{sum(one.work.macs.values()):,.0f}"
        table.add_row(
            Text(one.workload),
            Text(written),
            f"{one.time_us:,.1f} us",
            one.limiter,
            f"{one.work.moved_bytes:,.0f}",
            macs,
        )
    console.print(f"{report.problem.name} on {report.device.name} ({report.device.bound_kind})", markup=False)
    console.print(table)
    if explain:
        for line in explanation(report):
            console.print(line, markup=False, soft_wrap=True)


def explanation(report: "BoundReport") -> tuple[str, ...]:
    """Say where each number comes from: the device's rates, then every workload's notes."""
    rates = [f"{report.device.name}: {rate}: {how}" for rate, how in report.device.how.items()]
    return (*rates, *(line for one in report.bounds for line in _notes(one)))


def _notes(one: SolBound) -> list[str]:
    work = one.work
    counted = (
        f"{one.workload}: reads {work.read_bytes:,.0f} and writes {work.written_bytes:,.0f} bytes; "
        f"{work.other_flop:,.0f} elementwise and {work.special_flop:,.0f} special operations are not charged"
    )
    return [counted, *(f"{one.workload}: {note}" for note in one.notes)]


def import_kernelbench(file: Path, out: Path) -> int:
    """Write the problem folder and say what comes next."""
    folder = write_kernelbench(file, out)
    console = terminal.out()
    console.print(str(folder), markup=False, soft_wrap=True)
    terminal.err().print(f"next: deep-agent optimize {folder}", markup=False, soft_wrap=True)
    return terminal.OK


def located(problem: str) -> str:
    """Make a path absolute, and leave the name of a known problem as it is."""
    path = Path(problem)
    return str(path.resolve()) if path.exists() or len(path.parts) > 1 else problem
