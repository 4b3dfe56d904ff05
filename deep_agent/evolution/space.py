"""Owns the discrete space a search walks: parameters, points and their fingerprints; does not choose points."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import prod
from random import Random
from typing import Protocol

Choice = bool | int | str
"""One setting of a parameter."""
Point = Mapping[str, Choice]
"""A setting for every parameter of a space, by name."""
Indices = tuple[int, ...]
"""A point as the position of each setting among its parameter's choices, in the order of the parameters."""


class Parameter(Protocol):
    """One dimension of a space; the lowering's own parameters have this shape."""

    @property
    def name(self) -> str:
        """Unique within its space."""
        ...

    @property
    def choices(self) -> Sequence[Choice]:
        """The settings, none twice; neighbours are alike."""
        ...


def point_fingerprint(point: Point) -> str:
    """Hash a point (SHA-256, hex); the order of its names does not count."""
    return hashlib.sha256(json.dumps(dict(point), sort_keys=True).encode()).hexdigest()


def space_size(parameters: Sequence[Parameter]) -> int:
    """Count the points of a space; a space without parameters has one."""
    return prod(len(parameter.choices) for parameter in parameters)


def point_at(parameters: Sequence[Parameter], indices: Indices) -> dict[str, Choice]:
    """Name the settings at these positions."""
    return {parameter.name: parameter.choices[index] for parameter, index in zip(parameters, indices, strict=True)}


def indices_of(parameters: Sequence[Parameter], point: Point) -> Indices | None:
    """Find the positions of a point's settings; the inverse of `point_at`, None for a point of another space."""
    if set(point) != {parameter.name for parameter in parameters}:
        return None
    found = [_position(parameter, point[parameter.name]) for parameter in parameters]
    return tuple(index for index in found if index is not None) if None not in found else None


def _position(parameter: Parameter, setting: Choice) -> int | None:
    # True == 1 in Python, but they are different settings of a schedule.
    matches = (
        index
        for index, choice in enumerate(parameter.choices)
        if choice == setting and isinstance(choice, bool) == isinstance(setting, bool)
    )
    return next(matches, None)


def all_indices(parameters: Sequence[Parameter]) -> Iterator[Indices]:
    """Walk every point in a fixed order, the last parameter fastest."""
    return product(*(range(len(parameter.choices)) for parameter in parameters))


def random_indices(parameters: Sequence[Parameter], rng: Random) -> Indices:
    """Draw a point uniformly, with replacement."""
    return tuple(rng.randrange(len(parameter.choices)) for parameter in parameters)
