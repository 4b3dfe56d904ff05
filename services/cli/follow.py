"""Owns following a job to its end on a terminal, and what Ctrl-C does meanwhile; reads signals and a clock."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from deep_agent.errors import Conflict
from deep_agent.htdag.job import JobStatus
from services.application import Application
from services.cli import terminal
from services.cli.progress import Row, headline, news, rows
from services.views import JobView, job_view

POLL_S = 0.25


def view(application: Application, job_id: str) -> JobView:
    """Read a job with the state of its problems."""
    reads = application.reads
    return job_view(reads.job(job_id), reads.graph(job_id), reads.versions(job_id))


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C (or SIGTERM) into an event; the second one leaves at once."""
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        del number, frame
        if asked.is_set():
            # Locks may be held by the very code that hangs; nothing may run on the way out.
            os._exit(terminal.INTERRUPTED)
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        # After the first Ctrl-C the program is on its way out, and a second one may still cut that short.
        if not asked.is_set():
            for number, handler in before.items():
                signal.signal(number, handler)


def follow(application: Application, job_id: str, *, asked: threading.Event) -> JobView:
    """Show progress until the job is over, paused elsewhere, or a stop is asked for.

    A stop pauses the job, so that `jobs resume` goes on from what was found.
    """
    console = terminal.err()
    shown: _LiveBoard | _Lines = _LiveBoard(console) if console.is_terminal else _Lines(console)
    with shown:
        while True:
            job = view(application, job_id)
            shown.show(job, rows(job, application.reads.graph(job_id)), now_s=application.clock.now_s())
            if job.is_over or job.status is JobStatus.PAUSED:
                return job
            if asked.wait(POLL_S):
                break
    # A job that ended between the look and the pause needs none.
    with contextlib.suppress(Conflict):
        application.pause(job_id)
    return view(application, job_id)


class _Lines:
    """Progress where there is no terminal: a line when something changes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._before: tuple[Row, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        return None

    def show(self, job: JobView, now: tuple[Row, ...], *, now_s: float) -> None:
        """Print what is new."""
        for line in news(self._before, now):
            self._console.print(f"[{now_s - job.created_s:6.1f}s] {line}", markup=False, soft_wrap=True)
        self._before = now


class _LiveBoard:
    """Progress on a terminal: one board, drawn again in place."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self._live.stop()

    def show(self, job: JobView, now: tuple[Row, ...], *, now_s: float) -> None:
        """Draw the board."""
        table = terminal.plain_table("Problem", "Step", ">Tried", "Best so far")
        for row in now:
            table.add_row(Text(row.problem), Text(row.step), str(row.tried), Text(row.best or row.message))
        self._live.update(Group(Text(headline(job, now_s=now_s), style="bold"), table))
