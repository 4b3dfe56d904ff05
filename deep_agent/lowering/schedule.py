"""Owns the schedule: how a row program is computed, and the space a search may look through."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import Field

from deep_agent.lowering.expression import RowProgram, Space
from deep_agent.lowering.plan import Plan, RowCache, plan
from deep_agent.problem.device import DeviceModel
from deep_agent.problem.value import FrozenValue

Choice = bool | int | str
Prefetch = Literal["none", "ahead_512", "ahead_1024", "ahead_2048", "ahead_4096", "next_row", "next_row_shared"]
Exponential = Literal["accurate", "fast"]


class Schedule(FrozenValue):
    """How the work of a row program is done; every schedule gives right results."""

    row_cache: RowCache = "recompute"
    """What later passes over a row take from scratch instead of computing it again."""
    lanes: Literal[8, 16] = 8
    """Elements of a vector: 256 or 512 bits of float32."""
    unroll: Annotated[int, Field(ge=1, le=8)] = 2
    """Vectors handled in one turn of a loop over columns, each with an accumulator of its own."""
    rows_together: Annotated[int, Field(ge=1, le=4)] = 1
    """Rows handled in one turn, which share what is read along the columns."""
    threads: Annotated[int, Field(ge=1)] = 1
    streaming_stores: bool = True
    """Write past the cache, which saves reading what is overwritten."""
    prefetch: Prefetch = "none"
    """Ask for memory early: some bytes ahead, or the same place in the next row while this one is computed, all in the
    pass with the most arithmetic or each pass for its share of the tensors."""
    exp: Exponential = "accurate"
    """accurate: relative error about 2e-7; fast: about 4e-6."""


_WIDE_BYTES: Final = 64
"""A vector register that holds 16 lanes."""


class Parameter(FrozenValue):
    """One axis of a search space."""

    name: str
    """A field of `Schedule`."""
    choices: tuple[Choice, ...]
    """At least two; neighbours are alike."""


def schedule_from(point: Mapping[str, Choice]) -> Schedule:
    """Make the schedule of a point; parameters that are not named keep their default.

    Raises:
        pydantic.ValidationError: a name or a choice that no schedule has.
    """
    return Schedule.model_validate(dict(point))


def search_space(program: RowProgram, device: DeviceModel) -> tuple[Parameter, ...]:
    """Give the parameters that matter for a program on a device."""
    plans = [plan(loop, "all") for loop in program.loops]
    sweeps = [sweep for made in plans for part in made.passes for sweep in part.sweeps]
    candidates = [
        Parameter(name="row_cache", choices=_row_caches(program)),
        Parameter(name="lanes", choices=(8, 16) if sweeps and device.vector_bytes >= _WIDE_BYTES else (8,)),
        Parameter(name="unroll", choices=(1, 2, 4, 8) if sweeps else (1,)),
        Parameter(name="rows_together", choices=(1, 2, 4) if sweeps else (1,)),
        Parameter(name="threads", choices=_threads(device.n_threads)),
        Parameter(name="streaming_stores", choices=(True, False) if any(sweep.stores for sweep in sweeps) else (True,)),
        Parameter(name="prefetch", choices=_prefetches(plans)),
        Parameter(name="exp", choices=("accurate", "fast") if _has_exponential(program) else ("accurate",)),
    ]
    return tuple(parameter for parameter in candidates if len(parameter.choices) > 1)


def default_points(program: RowProgram, device: DeviceModel) -> tuple[dict[str, Choice], ...]:
    """Give points to start a search from, the best guess first; each has a value for every parameter."""
    space = search_space(program, device)
    has_sums = any(made.column_sums for made in (plan(loop, "all") for loop in program.loops))
    cache: RowCache = "costly" if _has_exponential(program) else "recompute"
    prefetches = next((parameter.choices for parameter in space if parameter.name == "prefetch"), ())
    next_row = "next_row_shared" if "next_row_shared" in prefetches else "next_row"
    guesses: list[dict[str, Choice]] = [
        # Rows handled together read and write the running sums of the columns once between them.
        {"row_cache": cache, "unroll": 1, "rows_together": 4, "prefetch": next_row}
        if has_sums
        else {"row_cache": cache, "unroll": 2, "rows_together": 1, "prefetch": next_row},
        {"row_cache": "all", "unroll": 4, "rows_together": 2 if has_sums else 1, "prefetch": "ahead_1024"},
        {"row_cache": cache, "unroll": 4, "rows_together": 1, "prefetch": "next_row", "exp": "fast", "lanes": 16},
        {"row_cache": "recompute", "unroll": 1, "rows_together": 4, "prefetch": "none", "streaming_stores": False},
    ]
    points: list[dict[str, Choice]] = []
    for guess in guesses:
        usual: dict[str, Choice] = {
            "lanes": 8,
            "threads": device.n_threads,
            "streaming_stores": True,
            "exp": "accurate",
            **guess,
        }
        point = {p.name: usual[p.name] if usual[p.name] in p.choices else p.choices[0] for p in space}
        if point not in points:
            points.append(point)
    return tuple(points)


def _row_caches(program: RowProgram) -> tuple[RowCache, ...]:
    """Give the policies that lead to different plans."""
    kept: dict[tuple[tuple[int, ...], ...], RowCache] = {}
    for policy in ("recompute", "costly", "all"):
        kept.setdefault(tuple(plan(loop, policy).kept for loop in program.loops), policy)
    return tuple(kept.values())


def _threads(n_threads: int) -> tuple[int, ...]:
    choices, count = {n_threads}, 1
    while count < n_threads:
        choices.add(count)
        count *= 2
    return tuple(sorted(choices))


def _prefetches(plans: list[Plan]) -> tuple[Prefetch, ...]:
    sweeps = [sweep for made in plans for part in made.passes for sweep in part.sweeps]
    if not any(sweep.first_loads for sweep in sweeps):
        return ("none",)
    near: tuple[Prefetch, ...] = ("none", "ahead_512", "ahead_1024", "ahead_2048", "ahead_4096", "next_row")
    return (*near, "next_row_shared") if sum(bool(sweep.shared_loads) for sweep in sweeps) > 1 else near


def _has_exponential(program: RowProgram) -> bool:
    exponentials = {"exp", "exp_falling", "sigmoid", "tanh", "erf"}
    return any(node.op in exponentials and node.space is Space.FULL for loop in program.loops for node in loop.nodes)
