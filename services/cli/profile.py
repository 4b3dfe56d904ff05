"""Owns the command that profiles one solution: the bottleneck, the figures that say so, what the compiler said."""

from pathlib import Path

from rich.text import Text

from deep_agent.problem.profile import Figure, NotProfiled, Profile
from deep_agent.problem.readers import read_solution
from services.cli import terminal
from services.cli.inspect import located
from services.cli.opening import opened
from services.views import problem_name


def run(problem: str, solution: Path, *, workload: str | None, device: str, json_out: bool) -> int:
    """Profile a solution file; gives 1 when it has no profile because it does not build, run or compute right."""
    given = read_solution(solution)
    with opened() as application:
        found = application.profile(located(problem), given, device=device, workload=workload)
    if json_out:
        told = {"problem": problem_name(problem), "solution": given.name, **found.model_dump(mode="json")}
        terminal.print_json(told)
    elif isinstance(found, NotProfiled):
        terminal.out().print(f"not profiled: {found.status.value} {found.reason}", markup=False, soft_wrap=True)
    else:
        _print(found)
    return terminal.FAILED if isinstance(found, NotProfiled) else terminal.OK


def _print(found: Profile) -> None:
    console = terminal.out()
    console.print(f"{found.workload}: bottleneck: {found.bottleneck}", markup=False)
    table = terminal.plain_table("", ">Figure", "Of what")
    for kind, figures in (("evidence", found.evidence), ("build", found.resources), ("counted", found.counters)):
        for one in figures:
            table.add_row(kind, _written(one), Text(one.name))
    console.print(table)
    for note in found.notes:
        console.print(note, markup=False, soft_wrap=True)


def _written(figure: Figure) -> str:
    if figure.value is None:
        return "not counted"
    digits = ",.0f" if figure.value == int(figure.value) or abs(figure.value) >= 1000 else ".3g"
    return f"{figure.value:{digits}} {figure.unit}".strip()
