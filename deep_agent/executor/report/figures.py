"""Owns the way a report writes numbers; pure."""

from math import floor, log10

from deep_agent.problem.evaluation import Ratio

_SI = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def significant(value: float, digits: int = 3) -> str:
    """Write a finite number with so many significant digits and no exponent: `1234`, `12.3`, `0.0123`."""
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - floor(log10(abs(value))))
    return f"{value:.{decimals}f}"


def tiny(value: float) -> str:
    """Write an error, which may be very small: `0`, `3.1e-07`."""
    return "0" if value == 0 else f"{value:.1e}"


def time(time_us: float) -> str:
    """Write a device time with a fitting unit: `850 ns`, `12.3 µs`, `4.56 ms`, `1.20 s`."""
    if time_us < 1:
        return f"{significant(time_us * 1e3)} ns"
    if time_us < 1e3:
        return f"{significant(time_us)} µs"
    if time_us < 1e6:
        return f"{significant(time_us / 1e3)} ms"
    return f"{significant(time_us / 1e6)} s"


def quantity(value: float, unit: str) -> str:
    """Write a large quantity with an SI prefix: `quantity(2.1e10, "B/s")` is `21.0 GB/s`."""
    for factor, prefix in _SI:
        if value >= factor:
            return f"{significant(value / factor)} {prefix}{unit}"
    return f"{significant(value)} {unit}"


def interval(ratio: Ratio) -> str:
    """Write the 95 % interval of a ratio: `1.52 to 1.61`."""
    return f"{ratio.low:.3f} to {ratio.high:.3f}"
