"""Owns the addresses of the pages and their two buttons; what a page says is the dashboard's."""

import contextlib
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from deep_agent.errors import Conflict, NotFound
from services.api.context import Here
from services.api.routes.jobs import JobPath
from services.dashboard import pages

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

JOBS_A_PAGE = 25
EVENTS_SHOWN = 60


@router.get("/")
def show_jobs(here: Here, cursor: Annotated[str | None, Query(max_length=512)] = None) -> HTMLResponse:
    """Show the list of jobs."""
    page = here.application.reads.jobs(limit=JOBS_A_PAGE, cursor=cursor)
    views = [here.views.of(job) for job in page.jobs]
    return HTMLResponse(pages.render_jobs(views, next_cursor=page.next_cursor, now_s=here.application.clock.now_s()))


@router.get("/jobs/{job_id}")
def show_job(here: Here, job_id: JobPath) -> HTMLResponse:
    """Show one job with its live graph."""
    reads = here.application.reads
    try:
        view = here.views.read(job_id)
    except NotFound as error:
        return HTMLResponse(pages.render_missing(error.message), status_code=404)
    return HTMLResponse(
        pages.render_job(
            view,
            reads.graph(job_id),
            events=reads.events(job_id, after=max(0, view.event_seq - EVENTS_SHOWN), limit=EVENTS_SHOWN),
            versions=reads.versions(job_id),
            now_s=here.application.clock.now_s(),
        )
    )


@router.post("/jobs/{job_id}/{verb}")
def press(here: Here, job_id: JobPath, verb: Literal["cancel", "resume"]) -> Response:
    """Carry out a button and lead back to the page, which shows what came of it."""
    control = here.application.cancel if verb == "cancel" else here.application.resume
    # A job that moved on between page and press is no fault: the page shows where it stands.
    with contextlib.suppress(Conflict):
        control(job_id)
    return RedirectResponse(f"/jobs/{job_id}", status_code=303)
