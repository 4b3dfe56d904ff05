"""Owns the commands on jobs: list, show, events, resume, cancel."""

import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from deep_agent.htdag.job import Event, Job
from services.application import Application
from services.cli import terminal
from services.cli.closing import as_json, check_out, close, print_closing
from services.cli.durations import write_duration
from services.cli.follow import POLL_S, follow, stop_signals, view
from services.cli.opening import opened
from services.cli.progress import headline, rows
from services.views import problem_name

BATCH = 500

app = typer.Typer(help="See and control jobs of this home folder.", no_args_is_help=True)

JobId = Annotated[str, typer.Argument(help="Id of the job.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on standard output.")]


@app.command("list")
def list_jobs(
    *,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many, newest first.")] = 20,
    json_out: AsJson = False,
) -> None:
    """List jobs, newest first."""
    with opened() as application:
        page = application.reads.jobs(limit=limit)
        now_s = application.clock.now_s()
    if json_out:
        terminal.print_json({"jobs": [job.model_dump(mode="json") for job in page.jobs], "next": page.next_cursor})
        return
    table = terminal.plain_table("Job", "Status", "Started", ">Took", "Problems")
    for job in page.jobs:
        table.add_row(*_line(job, now_s=now_s))
    terminal.out().print(table)


def _line(job: Job, *, now_s: float) -> tuple[Text | str, ...]:
    started = datetime.datetime.fromtimestamp(job.created_s, tz=datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
    took = write_duration((job.ended_s or job.paused_s or now_s) - job.created_s)
    return job.id, job.status.value, started, took, Text(", ".join(problem_name(one) for one in job.goal.problems))


@app.command()
def show(job_id: JobId, *, json_out: AsJson = False) -> None:
    """Show where a job stands."""
    with opened() as application:
        job = view(application, job_id)
        graph = application.reads.graph(job_id)
        now_s = application.clock.now_s()
    if json_out:
        terminal.print_json(as_json(job))
        return
    console = terminal.out()
    console.print(headline(job, now_s=now_s), markup=False)
    if job.is_over:
        print_closing(job)
        return
    table = terminal.plain_table("Problem", "Step", ">Tried", "Best so far")
    for row in rows(job, graph):
        table.add_row(Text(row.problem), row.step, str(row.tried), Text(row.best or row.message))
    console.print(table)


@app.command()
def events(
    job_id: JobId,
    *,
    after: Annotated[int, typer.Option(min=0, help="Number of the last event you have seen.")] = 0,
    following: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more until the job ends.")] = False,
    json_out: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Print the events of a job, one a line."""
    with stop_signals() as asked, opened() as application:
        while True:
            job = application.reads.job(job_id)
            after = _print_after(application, job_id, after, json_out=json_out)
            if not following or job.has_ended or asked.wait(POLL_S):
                break


def _print_after(application: Application, job_id: str, after: int, *, json_out: bool) -> int:
    while batch := application.reads.events(job_id, after=after, limit=BATCH):
        for event in batch:
            if json_out:
                terminal.print_json(event.model_dump(mode="json"))
            else:
                terminal.out().print(_event_line(event), markup=False, soft_wrap=True)
        after = batch[-1].seq
    return after


def _event_line(event: Event) -> str:
    clock = datetime.datetime.fromtimestamp(event.at_s, tz=datetime.UTC).strftime("%H:%M:%S")
    said = " ".join(f"{key}={value}" for key, value in event.payload.items() if isinstance(value, str | int | float))
    return f"{event.seq:6d} {clock} {event.kind} {event.node_id or ''} {said}".rstrip()


@app.command()
def resume(
    job_id: JobId,
    *,
    out: Annotated[Path | None, typer.Option(help="Folder that receives artefacts and report.")] = None,
    json_out: AsJson = False,
) -> None:
    """Go on with a job that was stopped, and follow it to its end."""
    check_out(out)
    with stop_signals() as asked, opened() as application:
        application.resume(job_id)
        application.start()
        job = follow(application, job_id, asked=asked)
    raise typer.Exit(close(job, out=out, json_out=json_out))


@app.command()
def cancel(job_id: JobId, *, json_out: AsJson = False) -> None:
    """End a job early; what was found stays."""
    with stop_signals() as asked, opened() as application:
        if application.cancel(job_id).has_ended:
            job = view(application, job_id)
        else:
            # Somebody has to wind the job down; where no other process does, this one is it.
            application.start()
            job = follow(application, job_id, asked=asked)
    if json_out:
        terminal.print_json(as_json(job))
    else:
        terminal.out().print(f"job {job.id} {job.status}", markup=False)
