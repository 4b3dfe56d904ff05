"""Owns the spelling of durations on the command line; pure."""

import re

from deep_agent.errors import InvalidInput

_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")


def parse_duration(text: str) -> float:
    """Read `90s`, `2m`, `1h30m`, `1.5h` or a bare number of seconds; always above zero.

    Raises:
        InvalidInput: anything else, a unit twice, or zero.
    """
    bare = text.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", bare):
        seconds = float(bare)
    else:
        parts = _PART.findall(bare)
        if not parts or "".join(number + unit for number, unit in parts) != bare:
            raise _refused(text)
        if len({unit for _, unit in parts}) != len(parts):
            raise _refused(text)
        seconds = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    if not 0 < seconds <= 366 * 86400:
        raise _refused(text)
    return seconds


def write_duration(seconds: float) -> str:
    """Write a duration for people: `0:42`, `12:05`, `1:02:03`; negative ones read as zero."""
    whole = max(0, round(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def _refused(text: str) -> InvalidInput:
    return InvalidInput(f"duration {text!r} cannot be read.", remedy="Write it as 90s, 2m or 1h30m.")
