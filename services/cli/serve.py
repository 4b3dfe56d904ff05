"""Owns starting the server: the port, the log, the words at start-up; binds a socket."""

import errno
import socket

from deep_agent.errors import InvalidInput, ResourceExhausted
from deep_agent.settings import load
from services.cli import logs, terminal
from services.cli.opening import by_name, opened

BACKLOG = 128


def run(*, host: str | None, port: int | None) -> int:
    """Serve until a signal; gives the exit code."""
    settings = load(host=host, port=port)
    settings.check_bind()
    logs.configure(settings.log_level, settings.log_format)
    with bind(settings.host, settings.port) as listener:
        shown = f"[{settings.host}]" if ":" in settings.host else settings.host
        console = terminal.err()
        console.print(f"Deep Agent on http://{shown}:{settings.port}  (Ctrl-C stops)", markup=False)
        console.print(f"home {settings.home_path}", markup=False, soft_wrap=True)
        console.print("webhooks are signed; their secret: deep-agent webhook-secret", markup=False)
        by_name("services.api.asgi").serve(settings, listener)
    return terminal.OK


def bind(host: str, port: int) -> socket.socket:
    """Take the port before anything starts, so that a taken one costs nothing.

    Raises:
        ResourceExhausted: another process listens there, or this user may not.
        InvalidInput: the host is no address of this machine.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise InvalidInput(f"host {host!r} is unknown: {error.strerror}.", remedy="Use 127.0.0.1.") from error
    listener = socket.socket(family, kind)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise InvalidInput(f"host {host!r} is no address of this machine.", remedy="Use 127.0.0.1.") from error
        what = "in use" if error.errno == errno.EADDRINUSE else f"not available ({error.strerror})"
        raise ResourceExhausted(
            f"port {port} on {host} is {what}.",
            remedy=f"Stop the process that listens there, or choose another: deep-agent serve --port {port + 1}",
        ) from error
    return listener


def webhook_secret() -> int:
    """Print the signing secret."""
    with opened() as application:
        terminal.out().print(application.webhook_secret(), markup=False, soft_wrap=True)
    return terminal.OK
