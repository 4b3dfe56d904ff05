"""Owns sizes: an axis expression together with its value at the traced binding."""

from dataclasses import dataclass
from math import prod
from typing import Self


@dataclass(frozen=True)
class Size:
    """A number of elements that may depend on the axes."""

    text: str
    """Axis expression, such as `"hidden"` or `"width // 2"`; holds at every binding."""
    value: int
    """What it is at the traced binding; used to compare sizes, never written into a kernel of a symbolic graph."""

    @classmethod
    def of(cls, number: int) -> Self:
        """Make a size that is the same at every binding."""
        return cls(str(number), number)

    @property
    def is_fixed(self) -> bool:
        """Whether it is the same at every binding."""
        return self.text.isdecimal()

    def __add__(self, other: "Size") -> "Size":
        """Add, leaving out zeros."""
        if self.text == "0":
            return other
        if other.text == "0":
            return self
        if self.is_fixed and other.is_fixed:
            return Size.of(self.value + other.value)
        return Size(f"{self._as_term()} + {other._as_term()}", self.value + other.value)

    def __sub__(self, other: "Size") -> "Size":
        """Subtract, leaving out zeros."""
        if other.text == "0":
            return self
        if self.text == other.text:
            return Size.of(0)
        if self.is_fixed and other.is_fixed:
            return Size.of(self.value - other.value)
        return Size(f"{self._as_term()} - {other._as_term()}", self.value - other.value)

    def _as_term(self) -> str:
        return self.text if self.text.isalnum() else f"({self.text})"


ZERO = Size.of(0)
ONE = Size.of(1)


def product(sizes: tuple[Size, ...]) -> Size:
    """Multiply sizes, leaving out ones; the empty product is one."""
    kept = [size for size in sizes if size.text != "1"]
    if all(size.is_fixed for size in kept):
        return Size.of(prod(size.value for size in kept))
    if len(kept) == 1:
        return kept[0]
    text = " * ".join(size.text if size.text.isidentifier() or size.is_fixed else f"({size.text})" for size in kept)
    return Size(text, prod(size.value for size in kept))


@dataclass(frozen=True)
class Window:
    """A run of columns."""

    offset: Size
    width: Size

    @property
    def end(self) -> Size:
        """The column after the last."""
        return self.offset + self.width
