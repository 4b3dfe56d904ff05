"""Owns the routes that say whether the server lives and can work."""

from fastapi import APIRouter, Response

from deep_agent.errors import DeepAgentError
from deep_agent.problem.value import FrozenValue
from services.api.context import Here

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
def get_readiness(here: Here, response: Response) -> Readiness:
    """Read the database; 503 when it does not answer."""
    try:
        here.application.reads.jobs(limit=1)
        database = True
    except DeepAgentError:
        database = False
        response.status_code = 503
    return Readiness(status="ok" if database else "unavailable", database=database, dispatcher=here.application.leads)
