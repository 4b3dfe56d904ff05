"""Owns the stream of a job's events: replay from the table, then tail; `id` is the event's number."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event

from deep_agent.htdag.job import Event
from services.api.context import Context, Here
from services.api.problems import ProblemDocument
from services.api.routes.jobs import JobPath

BATCH = 500
POLL_S = 0.2
KEEPALIVE_S = 15.0
LARGEST_SEQ = 2**53 - 1
RECONNECT_MS = 1000

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.get(
    "/{job_id}/events",
    operation_id="followJobEvents",
    summary="Follow the events of a job",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"text/event-stream": {}}, "description": "One message an event; `id` is its number"},
        204: {"description": "The job has ended and everything was sent"},
        "4XX": {"model": ProblemDocument, "description": "No such job"},
    },
)
async def follow_job_events(
    here: Here,
    job_id: JobPath,
    last_event_id: Annotated[str | None, Header(max_length=32)] = None,
    after: Annotated[int, Query(ge=0, le=LARGEST_SEQ)] = 0,
) -> Response:
    """Send what came after `Last-Event-ID` (or `?after=`), then what comes; ends with an `end` event.

    A reader that comes back after the end gets 204, which tells browsers not to come again.
    """
    if last_event_id is not None and last_event_id.isdecimal():
        after = min(int(last_event_id), LARGEST_SEQ)
    job = await asyncio.to_thread(here.application.reads.job, job_id)
    if job.has_ended and after >= job.event_seq:
        return Response(status_code=204)
    return EventSourceResponse(_stream(here, job_id, after), headers={"X-Accel-Buffering": "no"})


async def _stream(here: Context, job_id: str, after: int) -> AsyncIterator[bytes]:
    reads, loop = here.application.reads, asyncio.get_running_loop()
    yield f"retry: {RECONNECT_MS}\n\n".encode()
    spoke_s = loop.time()
    while not here.stopping.is_set():
        # Read before the events: when it says the job ended, no event follows those read after it.
        job = await asyncio.to_thread(reads.job, job_id)
        events = await asyncio.to_thread(reads.events, job_id, after=after, limit=BATCH)
        if events:
            yield b"".join(_message(event) for event in events)
            after, spoke_s = events[-1].seq, loop.time()
        elif job.has_ended:
            yield format_sse_event(event="end", data_str=f'{{"status":"{job.status}"}}')
            return
        elif loop.time() - spoke_s >= KEEPALIVE_S:
            yield KEEPALIVE_COMMENT
            spoke_s = loop.time()
        if len(events) < BATCH:
            await _pause(here.stopping)


def _message(event: Event) -> bytes:
    return format_sse_event(id=str(event.seq), data_str=event.model_dump_json())


async def _pause(stopping: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(stopping.wait(), POLL_S)
    except TimeoutError:
        return
