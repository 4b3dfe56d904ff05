"""Owns the composition of the server: settings, the application and the door."""

import importlib
import socket
from typing import cast

from fastapi import FastAPI

from deep_agent.settings import Settings, is_loopback
from services.api import server
from services.api.app import create
from services.api.guard import Access
from services.application import Application, Build


def compose(settings: Settings, build: Build | None = None) -> FastAPI:
    """Put the server together; `build` stands in for the real application in tests."""
    settings.check_bind()
    key = settings.api_key
    access = Access.of(
        api_key=None if key is None else key.get_secret_value(),
        loopback=is_loopback(settings.host),
        allowed_hosts=settings.allowed_hosts,
    )
    return create(build or (lambda: _build(settings)), access=access)


def _build(settings: Settings) -> Application:
    # By name and late: loading the engine takes longer than opening the port, and the first answer need not wait.
    return cast("Application", importlib.import_module("deep_agent.bootstrap").build(settings))


def serve(settings: Settings, listener: socket.socket) -> None:
    """Serve on a bound socket until a signal."""
    server.run(compose(settings), listener)
