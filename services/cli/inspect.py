"""Owns the commands that make no job: judge one solution, import one file."""

from pathlib import Path

from rich.text import Text

from deep_agent.problem.evaluation import Evaluation, WorkloadEvaluation
from deep_agent.problem.kernelbench import import_kernelbench as write_kernelbench
from deep_agent.problem.readers import read_solution
from services.cli import terminal
from services.cli.opening import opened
from services.views import problem_name


def evaluate(problem: str, solution: Path, *, device: str, json_out: bool) -> int:
    """Judge a solution file; gives 0 only when it passed and its times are believed."""
    given = read_solution(solution)
    with opened() as application:
        found = application.evaluate(located(problem), given, device=device)
    if json_out:
        terminal.print_json(evaluation_json(found, problem=problem_name(problem), solution=given.name))
    else:
        _print_evaluation(found)
    return terminal.OK if found.passed and not found.quarantined else terminal.FAILED


def evaluation_json(found: Evaluation, *, problem: str, solution: str) -> dict[str, object]:
    """Give the published object of one evaluation."""
    return {
        "problem": problem,
        "solution": solution,
        "verdict": _verdict(found),
        "message": found.quarantined or found.message,
        "workloads": [_workload_json(one) for one in found.workloads],
    }


def _verdict(found: Evaluation) -> str:
    """Give the published status, or say that times of right answers are not believed."""
    return "QUARANTINED" if found.quarantined else found.status.value


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
    console.print(f"{_verdict(found)} {found.quarantined or found.message}".strip(), markup=False, soft_wrap=True)
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
