"""Owns the search for an axis expression that explains one integer seen at several bindings; torch-free."""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cached_property
from itertools import combinations, combinations_with_replacement
from math import prod

from deep_agent.errors import InvalidInput
from deep_agent.problem.axes import evaluate_expression

MAX_DEGREE = 4
"""Most axes multiplied in one product; `batch*heads*rows*columns` is the largest a flattened tensor needs."""
MAX_DENOMINATOR = 64
MAX_OFFSET = 64

Numbers = tuple[int, ...]


class ExpressionFinder:
    """Finds, and remembers, the simplest expression for numbers seen at fixed bindings.

    The order of preference is an axis, a multiple of a product, an offset, a sum or difference of two
    products, an exact quotient, and a division that rounds. Every answer is checked at every binding.
    """

    def __init__(self, points: Sequence[Mapping[str, int]], axes: Sequence[str]) -> None:
        """Keep the bindings.

        Args:
            points: sizes of every axis, one mapping a binding.
            axes: axes that may appear, most readable first.
        """
        self._points = tuple(points)
        self._axes = tuple(axis for axis in axes if len({point[axis] for point in points}) > 1)
        self._known: dict[Numbers, str | None] = {}

    def find(self, numbers: Numbers) -> str | None:
        """Explain one number a binding; None when nothing simple does."""
        if numbers not in self._known:
            self._known[numbers] = self._search(numbers)
        return self._known[numbers]

    def _search(self, numbers: Numbers) -> str | None:
        if len(set(numbers)) == 1:
            return str(numbers[0])
        for candidate in self._candidates(numbers):
            if self.holds(candidate, numbers):
                return candidate
        return None

    def holds(self, expression: str, numbers: Numbers) -> bool:
        """Whether the expression gives these numbers at these bindings."""
        try:
            return all(
                evaluate_expression(expression, point) == number
                for point, number in zip(self._points, numbers, strict=True)
            )
        except InvalidInput:
            return False

    @cached_property
    def _products(self) -> dict[str, Numbers]:
        names = [
            combination
            for degree in range(1, MAX_DEGREE + 1)
            for combination in combinations_with_replacement(self._axes, degree)
        ]
        return {"*".join(name): tuple(prod(point[axis] for axis in name) for point in self._points) for name in names}

    def _candidates(self, numbers: Numbers) -> Iterator[str]:
        for name, sizes in self._products.items():
            if sizes == numbers:
                yield name
        for name, sizes in self._products.items():
            yield from _scaled(name, sizes, numbers)
        for name, sizes in self._products.items():
            yield from _shifted(name, sizes, numbers)
        small = [name for name in self._products if name.count("*") < 2]
        for left, right in combinations(small, 2):
            yield from self._paired(left, right, numbers)
        for name in small:
            yield from _rounded(name, self._products[name], numbers)

    def _paired(self, left: str, right: str, numbers: Numbers) -> Iterator[str]:
        pairs = list(zip(self._products[left], self._products[right], numbers, strict=True))
        if len({number - a - b for a, b, number in pairs}) == 1:
            yield _offset(f"{left}+{right}", pairs[0][2] - pairs[0][0] - pairs[0][1])
        if len({number - a + b for a, b, number in pairs}) == 1:
            yield _offset(f"{left}-{right}", pairs[0][2] - pairs[0][0] + pairs[0][1])
        if len({number - b + a for a, b, number in pairs}) == 1:
            yield _offset(f"{right}-{left}", pairs[0][2] - pairs[0][1] + pairs[0][0])
        for over, under in ((left, right), (right, left)):
            if all(
                number * d == n
                for n, d, number in zip(self._products[over], self._products[under], numbers, strict=True)
            ):
                yield f"{over}/({under})" if "*" in under else f"{over}/{under}"


def _scaled(name: str, sizes: Numbers, numbers: Numbers) -> Iterator[str]:
    if 0 in sizes:
        return
    ratio = Fraction(numbers[0], sizes[0])
    if ratio.denominator <= MAX_DENOMINATOR and all(n == ratio * s for n, s in zip(numbers, sizes, strict=True)):
        yield _times(name, ratio)


def _shifted(name: str, sizes: Numbers, numbers: Numbers) -> Iterator[str]:
    other = next((index for index, size in enumerate(sizes) if size != sizes[0]), None)
    if other is None:
        return
    ratio = Fraction(numbers[other] - numbers[0], sizes[other] - sizes[0])
    offset = numbers[0] - ratio * sizes[0]
    if ratio > 0 and ratio.denominator <= MAX_DENOMINATOR and 0 < abs(offset) <= MAX_OFFSET:
        numerator = offset * ratio.denominator
        if numerator.denominator == 1:
            whole = _offset(_times(name, Fraction(ratio.numerator)), int(numerator))
            yield whole if ratio.denominator == 1 else f"({whole})/{ratio.denominator}"


def _rounded(name: str, sizes: Numbers, numbers: Numbers) -> Iterator[str]:
    largest = max(range(len(sizes)), key=sizes.__getitem__)
    if numbers[largest] <= 0:
        return
    guess = sizes[largest] // numbers[largest]
    for divisor in sorted({k for k in (guess - 1, guess, guess + 1) if k > 1}):
        yield f"({name})//{divisor}"
        yield f"({name}+{divisor - 1})//{divisor}"
        yield f"({name}+{divisor - 1})//{divisor}*{divisor}"


def _times(name: str, ratio: Fraction) -> str:
    text = name if ratio.numerator == 1 else f"{ratio.numerator}*{name}"
    return text if ratio.denominator == 1 else f"{text}/{ratio.denominator}"


def _offset(text: str, offset: int) -> str:
    return text if offset == 0 else f"{text}{offset:+d}"
