"""Owns the few shapes every plot is made of: scales, a frame with ticks, marks; pure.

Coordinates are in a viewBox of WIDTH x HEIGHT; colours are classes of `style.css`, so that light and dark
themes and print share one drawing. Every text is escaped here.
"""

from collections.abc import Iterable
from math import ceil, floor, log10

from markupsafe import Markup

from deep_agent.problem.value import FrozenValue

WIDTH = 440
HEIGHT = 290
LEFT, RIGHT, TOP, BOTTOM = 54, 430, 14, 246


class Scale(FrozenValue):
    """Maps [low, high] onto pixels; `low < high`, and both positive on a logarithmic scale."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """Give the pixel of a value; values outside are held at the edge."""
        held = min(max(value, self.low), self.high)
        if self.logarithmic:
            share = log10(held / self.low) / log10(self.high / self.low)
        else:
            share = (held - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> tuple[float, ...]:
        """Choose round values inside the scale: 1, 2, 5 a decade (1 alone from three decades), or equal steps."""
        if self.logarithmic:
            return self._decade_ticks()
        step = _round_step((self.high - self.low) / 5)
        first, last = ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9)
        return tuple(round(index * step, 10) for index in range(first, last + 1))

    def _decade_ticks(self) -> tuple[float, ...]:
        digits = (1, 2, 5) if self.high < 1000 * self.low else (1,)
        powers = range(floor(log10(self.low)), ceil(log10(self.high)) + 1)
        ticks = (digit * 10.0**power for power in powers for digit in digits)
        return tuple(tick for tick in ticks if self.low <= tick <= self.high)


def _round_step(rough: float) -> float:
    power = 10.0 ** floor(log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if rough <= factor * power * (1 + 1e-9))


def horizontal(low: float, high: float, *, logarithmic: bool = False) -> Scale:
    """Make the scale of the x axis."""
    return Scale(low=low, high=high, start=LEFT, end=RIGHT, logarithmic=logarithmic)


def vertical(low: float, high: float, *, logarithmic: bool = False) -> Scale:
    """Make the scale of the y axis; larger values are higher."""
    return Scale(low=low, high=high, start=BOTTOM, end=TOP, logarithmic=logarithmic)


def line(start: tuple[float, float], end: tuple[float, float], kind: str) -> Markup:
    """Draw a straight line of a class."""
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(kind, *start, *end)


def path(points: Iterable[tuple[float, float]], kind: str) -> Markup:
    """Draw a polyline of a class through points."""
    joined = " ".join(f"{x},{y}" for x, y in points)
    return Markup('<polyline class="{}" points="{}"/>').format(kind, joined)


def text(x: float, y: float, words: str, *, anchor: str = "middle", kind: str = "label") -> Markup:
    """Write words at a point; `anchor` is start, middle or end."""
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(kind, x, y, anchor, words)


def mark(x: float, y: float, shape: str, title: str) -> Markup:
    """Draw one mark with a tooltip; the shape is `dot`, `ring`, `diamond` or `cross`, so colour is never needed."""
    outlines = {
        "dot": Markup('<circle cx="{0}" cy="{1}" r="4"/>').format(x, y),
        "ring": Markup('<circle cx="{0}" cy="{1}" r="3.5"/>').format(x, y),
        "diamond": Markup('<path d="M{} {}l5 5l-5 5l-5 -5z"/>').format(x, round(y - 5, 1)),
        "cross": Markup('<path d="M{} {}l7 7m0 -7l-7 7"/>').format(round(x - 3.5, 1), round(y - 3.5, 1)),
    }
    return Markup('<g class="mark {}"><title>{}</title>{}</g>').format(shape, title, outlines[shape])


def frame(x_axis: Scale, y_axis: Scale, x_words: str, y_words: str, *, whole_x: bool = False) -> Markup:
    """Draw grid lines, ticks and axis names.

    Args:
        x_axis: scale of x.
        y_axis: scale of y.
        x_words: name and unit of x.
        y_words: name and unit of y.
        whole_x: x counts things, so only whole ticks are drawn.
    """
    x_ticks = [tick for tick in x_axis.ticks() if not whole_x or tick == int(tick)]
    parts = [line((LEFT, y_axis.at(tick)), (RIGHT, y_axis.at(tick)), "grid") for tick in y_axis.ticks()]
    parts += [line((x_axis.at(tick), TOP), (x_axis.at(tick), BOTTOM), "grid") for tick in x_ticks]
    parts += [text(LEFT - 6, y_axis.at(tick) + 4, tick_label(tick), anchor="end") for tick in y_axis.ticks()]
    parts += [text(x_axis.at(tick), BOTTOM + 15, tick_label(tick)) for tick in x_ticks]
    parts.append(line((LEFT, BOTTOM), (RIGHT, BOTTOM), "axis"))
    parts.append(text((LEFT + RIGHT) / 2, HEIGHT - 10, x_words, kind="axis-name"))
    middle = (TOP + BOTTOM) / 2
    parts.append(
        Markup(
            '<text class="axis-name" text-anchor="middle" transform="translate(12 {}) rotate(-90)">{}</text>'
        ).format(middle, y_words)
    )
    return Markup("").join(parts)


def tick_label(value: float) -> str:
    """Write a tick shortly: `0.5`, `20`, `5k`, `10G`."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:g}{prefix}"
    return f"{value:g}"


def drawing(parts: Iterable[Markup], title: str) -> Markup:
    """Close the parts into one SVG element that scales with the page and has a name for screen readers."""
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, title, Markup("").join(parts)
    )
