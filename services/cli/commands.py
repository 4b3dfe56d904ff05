"""Owns the command line's surface: commands, flags and help; the work is in the other modules."""

from pathlib import Path
from typing import Annotated

import typer

from deep_agent.errors import InvalidInput
from services.cli import bounds as bounds_command
from services.cli import doctor as doctor_command
from services.cli import inspect as inspect_command
from services.cli import jobs as jobs_command
from services.cli import optimize as optimize_command
from services.cli import profile as profile_command
from services.cli import serve as serve_command
from services.cli import sets as sets_command
from services.cli.durations import parse_duration

app = typer.Typer(
    help="Find the fastest verified kernel for a PyTorch reference, with evidence.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
importing = typer.Typer(help="Turn other formats into problem folders.", no_args_is_help=True)
app.add_typer(jobs_command.app, name="jobs")
app.add_typer(importing, name="import")

Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on standard output.")]
Device = Annotated[str, typer.Option(help="cpu (one thread), cpu:N, cuda, cuda:N, or auto.")]


@app.callback()
def whole(*, debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False) -> None:
    """Find the fastest verified kernel for a PyTorch reference, with evidence."""
    del debug  # read by `main`, which also sees errors raised before any command runs


@app.command()
def optimize(  # noqa: PLR0913 - one parameter a flag
    problems: Annotated[
        list[str], typer.Argument(help="Problem folders, or names of known problems.", metavar="PROBLEM...")
    ],
    *,
    budget: Annotated[str, typer.Option(help="Wall time of the whole goal: 90s, 2m, 1h30m.")] = "2m",
    device: Device = "auto",
    operator: Annotated[str, typer.Option(help="How candidates are made: auto, schedule or random.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="Folder that receives artefacts and report.")] = None,
    seed: Annotated[int, typer.Option(help="Seeds the search's own chance.")] = 0,
    webhook: Annotated[str | None, typer.Option(help="Address that is told of verified kernels and the end.")] = None,
    json_out: Json = False,
) -> None:
    """Search for faster kernels and verify them; Ctrl-C keeps what was found.

    Exit code 0 when every problem ended verified, or honestly with the library's call as the answer;
    1 when something failed; 2 for bad input.
    """
    request = optimize_command.Request(
        problems=tuple(problems),
        budget_s=parse_duration(budget),
        device=device,
        operator=operator,
        seed=seed,
        webhook=webhook,
    )
    raise typer.Exit(optimize_command.run(request, out=out, json_out=json_out))


@app.command()
def evaluate(
    problem: Annotated[
        str, typer.Argument(help="Problem folder or name of a known problem; with --solutions, a folder of them.")
    ],
    *,
    solution: Annotated[Path | None, typer.Option(help="A solution.json in the public format.")] = None,
    solutions: Annotated[Path | None, typer.Option(help="Folder of solution files: judge a whole set.")] = None,
    out: Annotated[Path | None, typer.Option(help="Trace file of a set; rows already there are kept.")] = None,
    device: Device = "auto",
    json_out: Json = False,
) -> None:
    """Judge one solution, or with --solutions and --out a whole set, against references and library.

    Exit code 0 only when everything passes; 1 when something failed; 2 for bad input.
    """
    if solution is not None and solutions is None and out is None:
        raise typer.Exit(inspect_command.evaluate(problem, solution, device=device, json_out=json_out))
    if solution is not None or solutions is None or out is None:
        raise InvalidInput(
            "evaluate takes one solution or a whole set.",
            remedy="Give --solution FILE, or --solutions DIR with --out FILE.",
        )
    raise typer.Exit(sets_command.run(Path(problem), solutions, out=out, device=device, json_out=json_out))


@app.command()
def bound(
    problem: Annotated[
        str, typer.Argument(help="Problem folder, name of a known problem, or a directory of problems.")
    ],
    *,
    device: Annotated[str, typer.Option(help="cpu, cpu:N, cuda (this machine's card), or a sheet: h200, h100, ...")],
    explain: Annotated[bool, typer.Option("--explain", help="Say where each number comes from.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="For a directory: file that receives the rows; rows already there are kept.")
    ] = None,
    json_out: Annotated[
        bool, typer.Option("--json", help="Print JSON: one object, or one a line for a directory.")
    ] = False,
) -> None:
    """Compute how fast a problem, or each of a directory, could be on a device, and what limits it."""
    asked = bounds_command.Asked(problem=problem, device=device, explain=explain, json_out=json_out, out=out)
    raise typer.Exit(bounds_command.run(asked))


@app.command()
def profile(
    problem: Annotated[str, typer.Argument(help="Problem folder, or name of a known problem.")],
    *,
    solution: Annotated[Path, typer.Option(help="A solution.json in the public format.")],
    workload: Annotated[str | None, typer.Option(help="Uuid of the workload to run; the first by default.")] = None,
    device: Device = "auto",
    json_out: Json = False,
) -> None:
    """Say what holds a solution back, with the three figures that say so; nothing it does counts as a timing.

    On a CUDA device it takes Nsight Compute.
    """
    raise typer.Exit(profile_command.run(problem, solution, workload=workload, device=device, json_out=json_out))


@app.command()
def serve(
    *,
    port: Annotated[int | None, typer.Option(help="Port to listen on (DEEP_AGENT_PORT, 8421).")] = None,
    host: Annotated[str | None, typer.Option(help="Address to bind; beyond loopback a key is needed.")] = None,
) -> None:
    """Serve the API and the pages, and work on jobs, until Ctrl-C."""
    raise typer.Exit(serve_command.run(host=host, port=port))


@app.command("webhook-secret")
def webhook_secret() -> None:
    """Print the secret that webhooks of this home folder are signed with."""
    raise typer.Exit(serve_command.webhook_secret())


@app.command()
def doctor(*, json_out: Json = False) -> None:
    """Say what works on this machine, what is missing, and how to get it."""
    raise typer.Exit(doctor_command.run(json_out=json_out))


@importing.command("kernelbench")
def import_kernelbench(
    file: Annotated[Path, typer.Argument(help="Python file with Model, get_inputs and get_init_inputs.")],
    *,
    out: Annotated[Path, typer.Option(help="Folder that receives the problem folder.")] = Path("problems"),
) -> None:
    """Make a problem folder of a KernelBench-style file."""
    raise typer.Exit(inspect_command.import_kernelbench(file, out))
