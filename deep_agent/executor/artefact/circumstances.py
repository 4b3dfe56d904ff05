"""Owns when and with which libraries a trace was made; reads the installed packages' metadata."""

from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version


def libraries() -> dict[str, str]:
    """Look up versions in the installed packages' metadata; loading torch for its version would be dear."""
    found = {}
    for name in ("torch", "apache-tvm-ffi"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def made_at(now_s: float) -> str:
    """Write a moment as the public trace format has it: ISO 8601, local and naive."""
    return datetime.fromtimestamp(now_s, tz=UTC).astimezone().replace(tzinfo=None).isoformat()
