"""Owns how a command gets its application and gives it back."""

import contextlib
import importlib
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, cast

from deep_agent.settings import Settings, load
from services.application import Application

STOP_TIMEOUT_S = 1.5
"""A stop asked for by Ctrl-C must be over within two seconds."""


if TYPE_CHECKING:
    from deep_agent.executor.application import DeepAgent

    def _fits(real: DeepAgent) -> Application:
        """Have the type checker compare what is loaded by name with what the doors ask for."""
        return real


def by_name(module: str) -> ModuleType:
    """Load a module that help must not wait for: the engine's, or the server's."""
    return importlib.import_module(module)


@contextlib.contextmanager
def opened(settings: Settings | None = None) -> Iterator[Application]:
    """Build the application and stop it in the end, whatever happens in between."""
    application = cast("Application", by_name("deep_agent.bootstrap").build(settings or load()))
    try:
        yield application
    finally:
        application.stop(timeout_s=STOP_TIMEOUT_S)
