"""Owns the routes that say whether the server lives and can work."""

import asyncio

from fastapi import APIRouter, Request, Response

from deep_agent.errors import DeepAgentError
from deep_agent.problem.value import FrozenValue
from services.api.context import Context, startup_of

router = APIRouter(tags=["health"])


class Life(FrozenValue):
    """The process answers."""

    status: str = "ok"


class Readiness(FrozenValue):
    """Whether requests can be served, and whether jobs are worked on here."""

    status: str
    database: bool
    dispatcher: bool
    """Whether this process runs jobs; another one may hold the home folder instead."""


@router.get("/healthz", operation_id="getHealth", summary="The process answers")
async def get_health() -> Life:
    """Answer without touching anything; for supervisors and humans."""
    return Life()


@router.get("/livez", operation_id="getLiveness", summary="The process answers")
async def get_liveness() -> Life:
    """Answer without touching anything."""
    return Life()


@router.get("/readyz", operation_id="getReadiness", summary="The database answers")
async def get_readiness(request: Request, response: Response) -> Readiness:
    """Read the database; 503 while the application opens, and when the database does not answer."""
    startup = startup_of(request)
    opened = startup.done() and not startup.cancelled() and startup.exception() is None
    database = opened and await asyncio.to_thread(_answers, startup.result())
    response.status_code = 200 if database else 503
    return Readiness(
        status="ok" if database else "unavailable" if opened else "starting",
        database=database,
        dispatcher=opened and startup.result().application.leads,
    )


def _answers(here: Context) -> bool:
    try:
        here.application.reads.jobs(limit=1)
    except DeepAgentError:
        return False
    return True
