"""Owns how the server's log looks and what never stands in it; configures the process's logging once."""

import logging
import re
import sys
from typing import Literal

import structlog
from structlog.typing import EventDict, WrappedLogger

_SECRET = re.compile(r"whsec_[A-Za-z0-9+/=_-]+|(?i:bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}|://[^/\s:@]+:[^/\s@]+@")
HIDDEN = "[hidden]"


def redact(text: str) -> str:
    """Hide webhook secrets, keys and passwords inside a text."""
    return _SECRET.sub(lambda found: f"://{HIDDEN}@" if found[0].startswith("://") else HIDDEN, text)


def configure(level: str, style: Literal["text", "json"]) -> None:
    """Send every log record to standard error, redacted, as one line each."""
    stamped = structlog.processors.TimeStamper(fmt="iso", utc=True)
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name, stamped],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _redacted,
            renderer,
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())


def _redacted(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    del logger, method
    return {key: redact(value) if isinstance(value, str) else value for key, value in event.items()}
