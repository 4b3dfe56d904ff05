"""Owns how the app is served: one uvicorn process whose event streams end when it is asked to stop."""

import socket

import uvicorn
from fastapi import FastAPI
from typing_extensions import override

GRACE_S = 3
"""How long open requests may go on after a stop was asked for."""


class Server(uvicorn.Server):
    """Tells streams to end before waiting for open connections; else one open page would hold the stop up."""

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then do as uvicorn does."""
        app = self.config.app
        if isinstance(app, FastAPI):
            app.state.stopping.set()
        await super().shutdown(sockets)


def run(app: FastAPI, listener: socket.socket) -> None:
    """Serve on a bound socket until a signal; returns after a clean stop.

    Raises:
        DeepAgentError: the application could not be opened.
    """
    config = uvicorn.Config(
        app, log_config=None, access_log=False, timeout_graceful_shutdown=GRACE_S, server_header=False
    )
    server = Server(config)

    def give_up() -> None:
        server.should_exit = True

    app.state.on_failure = give_up
    server.run(sockets=[listener])
    if app.state.failure is not None:
        raise app.state.failure
