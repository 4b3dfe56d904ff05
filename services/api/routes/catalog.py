"""Owns the routes of what an installation knows: candidates, problems, devices, deliveries."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from deep_agent.htdag.job import Delivery, DeliveryAttempt
from deep_agent.problem.device import DeviceModel
from deep_agent.problem.solution import Solution
from deep_agent.problem.value import FrozenValue
from services.api.context import Here
from services.api.problems import ProblemDocument

router = APIRouter(
    prefix="/v1",
    responses={"4XX": {"model": ProblemDocument, "description": "The request cannot be carried out as it stands"}},
)

RECENT_JOBS = 50


class ProblemEntry(FrozenValue):
    """A problem this installation knows by name."""

    name: str
    description: str
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    n_workloads: int


class ProblemList(FrozenValue):
    """All of them, by name."""

    items: tuple[ProblemEntry, ...]


class DeviceList(FrozenValue):
    """The devices that were probed."""

    items: tuple[DeviceModel, ...]


class DeliveryEntry(FrozenValue):
    """One webhook message and its attempts."""

    delivery: Delivery
    attempts: tuple[DeliveryAttempt, ...]


class DeliveryList(FrozenValue):
    """In order of their events, newest job first."""

    items: tuple[DeliveryEntry, ...]


@router.get("/candidates/{solution_hash}", operation_id="getCandidate", summary="Read a solution", tags=["candidates"])
def get_candidate(here: Here, solution_hash: Annotated[str, Path(pattern="^[0-9a-f]{64}$")]) -> Solution:
    """Give the source files and the build spec of a candidate by its content hash."""
    return here.application.candidate(solution_hash)


@router.get("/problems", operation_id="listProblems", summary="List the known problems", tags=["problems"])
def list_problems(here: Here) -> ProblemList:
    """Give the problems a goal can name without a folder."""
    return ProblemList(
        items=tuple(
            ProblemEntry(
                name=problem.name,
                description=problem.definition.description or "",
                op_type=problem.definition.op_type or "",
                inputs=tuple(problem.definition.inputs),
                outputs=tuple(problem.definition.outputs),
                n_workloads=len(problem.workloads),
            )
            for problem in here.application.problems()
        )
    )


@router.get("/devices", operation_id="listDevices", summary="List the probed devices", tags=["devices"])
def list_devices(here: Here) -> DeviceList:
    """Give the device models and how their rates were obtained."""
    return DeviceList(items=here.application.devices())


@router.get("/deliveries", operation_id="listDeliveries", summary="List webhook deliveries", tags=["deliveries"])
def list_deliveries(here: Here, job: Annotated[str | None, Query(max_length=128)] = None) -> DeliveryList:
    """Give the deliveries of one job, or of the most recent jobs, with every attempt."""
    recent = here.application.reads.jobs(limit=RECENT_JOBS).jobs if job is None else ()
    jobs = [job] if job is not None else [one.id for one in recent if one.goal.webhook is not None]
    return DeliveryList(
        items=tuple(
            DeliveryEntry(delivery=delivery, attempts=attempts)
            for job_id in jobs
            for delivery, attempts in here.application.deliveries.deliveries(job_id)
        )
    )
