"""Owns the sizes a reference is traced at besides its own, so that sizes and constants fall apart; torch-free."""

from collections.abc import Iterator, Sequence

from deep_agent.problem.axes import ConstAxis, VarAxis
from deep_agent.problem.problem import Problem
from deep_agent.problem.workload import Workload

_PRIMES = (11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109)
N_BINDINGS = 3
"""Further bindings of one kind; with the workload's own, one more than an affine law in an axis needs twice over."""
MAX_CHECKED_WORKLOADS = 12
"""Other workloads of the problem that the expressions are checked at."""

Axes = dict[str, int]


def further_bindings(problem: Problem, workload: Workload) -> Iterator[tuple[Axes, ...]]:
    """Give groups of axis sizes to trace at, the most telling first.

    Distinct primes tell most; multiples of 16 and 128 suit references that split an axis; multiples of
    the workload's own sizes suit those that split by a constant; one axis at a time suits coupled axes.
    """
    free = [name for name, axis in problem.definition.axes.items() if isinstance(axis, VarAxis)]
    if not free:
        return
    fixed = {axis.value for axis in problem.definition.axes.values() if isinstance(axis, ConstAxis)}
    primes = [prime for prime in _PRIMES if prime not in fixed]
    rounds = [_assigned(free, primes, turn) for turn in range(N_BINDINGS)]
    for unit in (1, 16, 128):
        yield tuple({name: unit * prime for name, prime in assigned.items()} for assigned in rounds)
    factors = [_assigned(free, (2, 3, 5, 7, 11, 13), turn) for turn in range(N_BINDINGS)]
    yield tuple({name: workload.axes[name] * factor[name] for name in free} for factor in factors)
    yield tuple(
        {**{other: workload.axes[other] for other in free}, name: workload.axes[name] * factor}
        for name in free
        for factor in (2, 3)
    )


def _assigned(free: Sequence[str], numbers: Sequence[int], turn: int) -> Axes:
    """Deal numbers so that no two axes grow alike from turn to turn: each turn strides differently."""
    stride = 2 * turn + 1
    return {name: numbers[(place * stride + 5 * turn) % len(numbers)] for place, name in enumerate(free)}


def checked_workloads(problem: Problem, workload: Workload) -> tuple[Workload, ...]:
    """Give the problem's other workloads, a few of them, whose sizes differ."""
    seen = {tuple(sorted(workload.axes.items()))}
    kept = []
    for other in problem.workloads:
        key = tuple(sorted(other.axes.items()))
        if key not in seen:
            seen.add(key)
            kept.append(other)
    return tuple(kept[:MAX_CHECKED_WORKLOADS])
