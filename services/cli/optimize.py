"""Owns the main job on the command line: from problems and a budget to an answer."""

from pathlib import Path

from pydantic import ValidationError

from deep_agent.errors import InvalidInput
from deep_agent.htdag.goal import Budget, Goal
from deep_agent.problem.value import FrozenValue
from services.cli import terminal
from services.cli.closing import check_out, close
from services.cli.follow import follow, stop_signals
from services.cli.opening import opened


class Request(FrozenValue):
    """What was asked, as it was typed."""

    problems: tuple[str, ...]
    budget_s: float
    device: str
    operator: str
    seed: int
    webhook: str | None


def goal_of(request: Request) -> Goal:
    """Make the goal; folders become absolute paths, other words stay names of known problems.

    Raises:
        InvalidInput: a field is out of range; the message names its flag.
    """
    try:
        return Goal.model_validate(
            {
                "problems": tuple(dict.fromkeys(_located(problem) for problem in request.problems)),
                "device": request.device,
                "budget": Budget(wall_s=request.budget_s),
                "operator": request.operator,
                "seed": request.seed,
                "webhook": request.webhook,
            }
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        flag = "--" + str(first["loc"][0]) if first["loc"] else "the goal"
        raise InvalidInput(
            f"{flag}: {first['msg'].lower()}.", remedy="`deep-agent optimize --help` lists what it takes."
        ) from error


def _located(problem: str) -> str:
    path = Path(problem)
    return str(path.resolve()) if path.exists() or len(path.parts) > 1 else problem


def run(request: Request, *, out: Path | None, json_out: bool) -> int:
    """Submit, work or follow, and tell; gives the exit code."""
    goal = goal_of(request)
    check_out(out)
    with stop_signals() as asked, opened() as application:
        # Bad input is refused here, before any lane or judge starts.
        accepted = application.submit(goal)
        console = terminal.err()
        console.print(f"job {accepted.job.id}", markup=False)
        if application.is_led_elsewhere():
            console.print("another process works on this home folder's jobs; following it", markup=False)
        application.start()
        job = follow(application, accepted.job.id, asked=asked)
    return close(job, out=out, json_out=json_out)
