"""Owns the routes of jobs: submit, list, read, control."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Header, Path, Query, Response

from deep_agent.executor.submit import request_hash
from deep_agent.htdag.goal import Goal
from deep_agent.htdag.hop import IdempotencyKey
from deep_agent.htdag.job import GraphView, Job, JobStatus, VersionView
from deep_agent.problem.value import FrozenValue
from services.api.context import Here
from services.api.problems import ProblemDocument
from services.views import JobView

router = APIRouter(
    prefix="/v1/jobs",
    tags=["jobs"],
    responses={
        "4XX": {"model": ProblemDocument, "description": "The request cannot be carried out as it stands"},
        "5XX": {"model": ProblemDocument, "description": "This machine or this server failed"},
    },
)

PROJECT = "default"
POLL_AGAIN_S = 2
JobPath = Annotated[str, Path(max_length=128, description="Id of the job")]


class JobList(FrozenValue):
    """One page of jobs, newest first."""

    items: tuple[Job, ...]
    next: str | None
    """Cursor of the page that follows; null on the last one."""


class Lineage(FrozenValue):
    """The committed versions of a job's searches."""

    items: tuple[VersionView, ...]


@router.post("", operation_id="submitJob", summary="Ask for faster kernels", status_code=202)
def submit_job(
    here: Here,
    goal: Goal,
    response: Response,
    idempotency_key: Annotated[str | None, Header(max_length=255, min_length=1)] = None,
) -> JobView:
    """Accept a goal and answer at once.

    With `Idempotency-Key` a repeated request gives the first job; the same key with another body is refused.
    """
    key = None
    if idempotency_key is not None:
        key = IdempotencyKey(project=PROJECT, key=idempotency_key, request_hash=request_hash(goal))
    accepted = here.application.submit(goal, idempotency=key)
    response.headers["Location"] = f"/v1/jobs/{accepted.job.id}"
    response.headers["Retry-After"] = str(POLL_AGAIN_S)
    return here.views.of(accepted.job)


@router.get("", operation_id="listJobs", summary="List jobs, newest first")
def list_jobs(
    here: Here,
    response: Response,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=512)] = None,
    status: JobStatus | None = None,
) -> JobList:
    """Give one page; `Link: rel="next"` and `next` lead on."""
    page = here.application.reads.jobs(limit=limit, cursor=cursor, status=status)
    if page.next_cursor is not None:
        query = {"cursor": page.next_cursor, "limit": limit} | ({"status": status.value} if status else {})
        response.headers["Link"] = f'</v1/jobs?{urlencode(query)}>; rel="next"'
    return JobList(items=page.jobs, next=page.next_cursor)


@router.get("/{job_id}", operation_id="getJob", summary="Read a job", response_model=JobView)
def get_job(
    here: Here, job_id: JobPath, response: Response, if_none_match: Annotated[str | None, Header()] = None
) -> JobView | Response:
    """Give the job with the state of each problem; 304 when the entity tag is still current."""
    job = here.application.reads.job(job_id)
    tag = f'"v{job.version}.{job.event_seq}"'
    if if_none_match is not None and tag in {part.strip().removeprefix("W/") for part in if_none_match.split(",")}:
        return Response(status_code=304, headers={"ETag": tag})
    response.headers["ETag"] = tag
    return here.views.of(job)


@router.get("/{job_id}/graph", operation_id="getJobGraph", summary="Read the task graph")
def get_job_graph(here: Here, job_id: JobPath) -> GraphView:
    """Give all nodes and edges at one event number; follow `/events?after=event_seq` from there."""
    return here.application.reads.graph(job_id)


@router.get("/{job_id}/lineage", operation_id="getJobLineage", summary="Read the committed versions")
def get_job_lineage(here: Here, job_id: JobPath) -> Lineage:
    """Give every version of every search of the job, oldest first."""
    return Lineage(items=here.application.reads.versions(job_id))


@router.get(
    "/{job_id}/report",
    operation_id="getJobReport",
    summary="Read the report",
    response_class=Response,
    responses={200: {"content": {"text/html": {}}, "description": "One self-contained page"}},
)
def get_job_report(here: Here, job_id: JobPath) -> Response:
    """Give the report; 404 while there is none."""
    # The report carries its own style and no script; the sandbox keeps what it shows from acting as this site.
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox"
    return Response(
        here.application.report(job_id),
        media_type="text/html",
        headers={"Content-Security-Policy": policy},
    )


@router.post("/{job_id}/cancel", operation_id="cancelJob", summary="End a job early", status_code=202)
def cancel_job(here: Here, job_id: JobPath) -> JobView:
    """Stop what runs and keep what was found; cancelling twice is cancelling once."""
    return here.views.of(here.application.cancel(job_id))


@router.post("/{job_id}/pause", operation_id="pauseJob", summary="Hold a job", status_code=202)
def pause_job(here: Here, job_id: JobPath) -> JobView:
    """Let nothing new start; the wall budget stands still."""
    return here.views.of(here.application.pause(job_id))


@router.post("/{job_id}/resume", operation_id="resumeJob", summary="Go on with a paused job", status_code=202)
def resume_job(here: Here, job_id: JobPath) -> JobView:
    """Go on with the wall time that was left."""
    return here.views.of(here.application.resume(job_id))
