"""Owns the assembly of the REST door: routes, pages, guard, lifespan; holds no application of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.types import Lifespan
from typing_extensions import override

from services.api import problems
from services.api.context import Context, JobViews
from services.api.guard import Access, Guard
from services.api.routes import catalog, events, health, jobs
from services.api.routes import pages as page_routes
from services.application import Build
from services.dashboard.pages import STATIC

STOP_TIMEOUT_S = 5.0
DESCRIPTION = "Hands back the fastest verified kernel it could find for a PyTorch reference, with evidence."


def create(build: Build, *, access: Access) -> FastAPI:
    """Make the server's app; the application opens beside the first requests, and its lanes run inside this process.

    Args:
        build: opens the application; called once, in the lifespan.
        access: who may use the server.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.startup = startup = asyncio.create_task(_open(build, app.state.stopping))
        startup.add_done_callback(lambda done: _note_failure(app, done))
        try:
            # The port answers from here on; what needs the application waits for it.
            yield
        finally:
            app.state.stopping.set()
            await _stop(startup)

    app = _routed(lifespan)
    app.state.stopping = asyncio.Event()
    app.state.failure = None
    app.state.on_failure = lambda: None
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(Guard, access=access)
    return app


async def _open(build: Build, stopping: asyncio.Event) -> Context:
    application = await asyncio.to_thread(build)
    await asyncio.to_thread(application.start)
    return Context(application=application, views=JobViews(application), stopping=stopping)


def _note_failure(app: FastAPI, startup: asyncio.Task[Context]) -> None:
    """Keep why the application did not open, for whoever runs the server, and ask for the end."""
    if not startup.cancelled() and (error := startup.exception()) is not None:
        app.state.failure = error
        app.state.on_failure()


async def _stop(startup: asyncio.Task[Context]) -> None:
    await asyncio.wait([startup])
    if not startup.cancelled() and startup.exception() is None:
        await asyncio.to_thread(startup.result().application.stop, timeout_s=STOP_TIMEOUT_S)


def describe() -> dict[str, Any]:
    """Give the OpenAPI document of the server, without starting one."""
    return _routed(None).openapi()


def _routed(lifespan: Lifespan[FastAPI] | None) -> FastAPI:
    app = _App(
        title="Deep Agent",
        version=version("deep-agent"),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    problems.install(app)
    for module in (health, jobs, events, catalog, page_routes):
        app.include_router(module.router)
    return app


class _App(FastAPI):
    """Names the media type of problem documents in the published schema, which the framework takes for JSON."""

    @override
    def openapi(self) -> dict[str, Any]:
        fresh = self.openapi_schema is None
        schema = super().openapi()
        if fresh:
            for path in schema["paths"].values():
                for operation in path.values():
                    _rename_problems(operation["responses"])
        return schema


def _rename_problems(responses: dict[str, Any]) -> None:
    for code in {"4XX", "5XX"} & responses.keys():
        (described,) = responses[code]["content"].values()
        responses[code]["content"] = {problems.MEDIA_TYPE: described}
