"""Owns what routes share: the application behind them, cached job views, and the sign that the server stops."""

import asyncio
import functools
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from deep_agent.htdag.job import Job
from services.application import Application
from services.views import JobView, job_view

VIEWS_KEPT = 256


class JobViews:
    """Views of jobs, kept until the job moves on; safe to use from several threads."""

    def __init__(self, application: Application) -> None:
        """Start empty."""
        self._application = application
        self._at = functools.lru_cache(maxsize=VIEWS_KEPT)(self._load)

    def of(self, job: Job) -> JobView:
        """View a job that was just read."""
        return self._at(job.id, job.version, job.event_seq)

    def read(self, job_id: str) -> JobView:
        """Read and view a job; raises NotFound."""
        return self.of(self._application.reads.job(job_id))

    def _load(self, job_id: str, version: int, event_seq: int) -> JobView:
        del version, event_seq  # part of the key: a job that moved on is another entry
        reads = self._application.reads
        return job_view(reads.job(job_id), reads.graph(job_id), reads.versions(job_id))


@dataclass(frozen=True, kw_only=True)
class Context:
    """What one running server holds."""

    application: Application
    views: JobViews
    stopping: asyncio.Event
    """Set when the server is asked to stop, before it waits for open connections: streams end on it."""


def startup_of(request: Request) -> asyncio.Task[Context]:
    """Give the task that opens the application; it is done once the server can work."""
    startup = request.app.state.startup
    assert isinstance(startup, asyncio.Task)
    return startup


async def _context(request: Request) -> Context:
    # Requests that come while the application opens wait for it; one that gives up must not cancel it.
    return await asyncio.shield(startup_of(request))


Here = Annotated[Context, Depends(_context)]
