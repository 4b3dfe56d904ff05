"""Owns how figures and states read on a page: units, rounding, one colour class and one word a state."""

import datetime

ABSENT = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"

TONES = {
    "paused": "held",
    "waiting_user": "held",
    "cancelling": "held",
    "library": "held",
    "dispatched": "soon",
    "expanding": "live",
    "running": "live",
    "validating": "live",
    "done": "good",
    "succeeded": "good",
    "verified": "good",
    "failed": "bad",
    "rescinded": "gone",
    "superseded": "gone",
    "cancelled": "gone",
}
"""State, status or verdict -> colour class; what is not here is drawn as idle."""

WORDS = {"library": "library is best", "waiting_user": "waits for you", "expanding": "planning"}
"""Where a state reads better than it is spelt."""


def tone(state: str) -> str:
    """Give the colour class of a state; unknown states are idle, never an error."""
    return TONES.get(state, "idle")


def word(state: str) -> str:
    """Write a state as a reader says it."""
    return WORDS.get(state, state.replace("_", " "))


def elide(text: str, longest: int) -> str:
    """Shorten in the middle, keeping both ends; the result is at most `longest` characters (at least 3)."""
    if len(text) <= longest:
        return text
    kept = max(longest, 3) - 1
    head = (kept + 1) // 2
    return f"{text[:head]}…{text[len(text) - (kept - head) :] if kept > head else ''}"


def duration(seconds: float | None) -> str:
    """Write a wall time: `850 ms`, `12.3 s`, `2 m 05 s`, `1 h 12 m`; a dash for None."""
    if seconds is None:
        return ABSENT
    seconds = max(seconds, 0.0)
    if seconds < 0.9995:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} m"


def device_time(microseconds: float | None) -> str:
    """Write a device time in µs, ms or s with three figures; a dash for None."""
    if microseconds is None:
        return ABSENT
    for unit, scale in (("µs", 1.0), ("ms", 1e3)):
        if microseconds < 999.5 * scale:
            return f"{microseconds / scale:.3g} {unit}"
    return f"{microseconds / 1e6:.3g} s"


def ratio(value: float | None) -> str:
    """Write a speed-up: two decimals and a multiplication sign; a dash for None."""
    return ABSENT if value is None else f"{value:.2f}{TIMES}"


def moment(at_s: float | None) -> str:
    """Write a time as `2026-11-23 18:04:05` UTC; a dash for None."""
    if at_s is None:
        return ABSENT
    return datetime.datetime.fromtimestamp(at_s, tz=datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")


def clock(at_s: float) -> str:
    """Write the time of day, UTC: `18:04:05`."""
    return datetime.datetime.fromtimestamp(at_s, tz=datetime.UTC).strftime("%H:%M:%S")
