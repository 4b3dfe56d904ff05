"""Examines a solution's answers before it is timed. Loads torch.

Hidden shapes first: small, odd sizes of the definition's own var axes, under every distribution, against the
reference in float64. Then the visible workloads on fresh inputs. The solution never learns which is which.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle
from random import Random
from typing import Final

import torch

from deep_agent.errors import InvalidInput
from deep_agent.harness.answers.compare import Comparison
from deep_agent.harness.answers.inputs import DISTRIBUTIONS, Case
from deep_agent.harness.answers.reference import Reference
from deep_agent.harness.answers.stage import Stage, refusal, set_stage
from deep_agent.harness.arms.arm import Arm, ArmFailed
from deep_agent.harness.arms.places import Place
from deep_agent.problem.axes import ConstAxis, VarAxis
from deep_agent.problem.definition import Definition
from deep_agent.problem.workload import Workload

_BEYOND_A_BLOCK: Final = (67, 100, 129, 257)
_HIDDEN_SIZES: Final = (1, 2, 3, 5, 8, 17, 31, 33, 64, *_BEYOND_A_BLOCK)
_MAX_VARYING_BYTES: Final = 4 * 2**20
"""Of a tensor that has a var axis."""
_MAX_CONSTANT_BYTES: Final = 256 * 2**20
"""Of the tensors of all cases together that have none, as weights have; they come as large as they are."""
_MAX_REFERENCE_TRIES: Final = 32
_FREE_TRIES: Final = 20
"""Of these, the first ones draw every size anew; the others change one axis at a time, for references that couple them."""
_MAX_DRAWS: Final = 8


@dataclass(slots=True)
class HiddenCase:
    """One hidden stage with the answers to its input set, ready for any number of solutions."""

    name: str
    stage: Stage
    expected: tuple[torch.Tensor, ...]


def hidden_workloads(definition: Definition, visible: Sequence[Workload], chance: Random) -> Iterator[Workload]:
    """Vary the var axes of a definition: at most 32 workloads; sizes are small, odd, and sometimes equal to a visible one.

    Every axis in its turn reaches beyond 64, and once in each round of turns none has to: a kernel that is right within
    a block only must not get by because small sizes alone were drawn. Scalars and tolerances are those of a visible
    workload. Whether the reference accepts a size shows only when it runs.
    """
    var_axes = [name for name, axis in definition.axes.items() if isinstance(axis, VarAxis)]
    turns: list[str | None] = [*var_axes, None]
    chance.shuffle(turns)

    def drawn(number: int) -> Workload:
        model = chance.choice(list(visible))
        stretched = turns[number % len(turns)]
        if number < _FREE_TRIES:
            changed = var_axes
        else:
            changed = [stretched] if stretched else chance.sample(var_axes, min(1, len(var_axes)))
        sizes = {name: chance.choice(_BEYOND_A_BLOCK if name == stretched else _HIDDEN_SIZES) for name in changed}
        return model.model_copy(update={"uuid": f"hidden-{number + 1}", "axes": {**model.axes, **sizes}})

    for number in range(_MAX_REFERENCE_TRIES):
        tried = (drawn(number) for _ in range(_MAX_DRAWS))
        small = next((workload for workload in tried if _is_small(definition, workload)), None)
        if small is not None:
            yield small


def hidden_cases(
    reference: Reference, visible: Sequence[Workload], chance: Random, place: Place, *, n_cases: int
) -> tuple[HiddenCase, ...]:
    """Make hidden stages that the reference accepts; fewer, even none, when it accepts few or their weights are large."""
    definition = reference.definition
    sizes = definition.sizes(visible[0].axes)
    constant_bytes = sum(definition.storage_bytes(name, sizes) for name in _constant_tensors(definition))
    if constant_bytes:
        n_cases = min(n_cases, _MAX_CONSTANT_BYTES // constant_bytes)
    cases: list[HiddenCase] = []
    seen: set[str] = set()
    with ExitStack() as failed:
        # A kind of values that the reference refuses must not stand in the way of the others.
        kinds = cycle(DISTRIBUTIONS)
        for workload, distribution in zip(hidden_workloads(definition, visible, chance), kinds, strict=False):
            if len(cases) >= n_cases:
                break
            key = f"{sorted(workload.axes.items())} {distribution}"
            if key in seen:
                continue
            seen.add(key)
            made = _hidden_case(reference, Case(workload, distribution), chance, place)
            if made is not None:
                cases.append(made)
                failed.callback(made.stage.close)
        failed.pop_all()
    return tuple(cases)


def _constant_tensors(definition: Definition) -> list[str]:
    """Name the inputs and outputs whose shape is the same in every workload."""
    constant = {name for name, axis in definition.axes.items() if isinstance(axis, ConstAxis)}
    return [
        name
        for name, spec in (*definition.inputs.items(), *definition.outputs.items())
        if all(token.isdecimal() or token in constant for token in spec.shape or ())
    ]


def _is_small(definition: Definition, workload: Workload) -> bool:
    try:
        sizes = definition.sizes(workload.axes)
    except InvalidInput:
        return False
    constant = _constant_tensors(definition)
    return all(
        definition.storage_bytes(name, sizes) <= _MAX_VARYING_BYTES
        for name in (*definition.inputs, *definition.outputs)
        if name not in constant
    )


def _hidden_case(reference: Reference, case: Case, chance: Random, place: Place) -> HiddenCase | None:
    """Make one case; None when the reference refuses it, or says nothing about a solution since it fails itself."""
    try:
        stage = set_stage(reference, case, chance, place)
    except InvalidInput:
        return None
    with ExitStack() as unused:
        unused.callback(stage.close)
        expected = stage.sound_answer(0)
        if expected is None:
            return None
        unused.pop_all()
    sizes = ", ".join(f"{axis}={size}" for axis, size in case.workload.axes.items())
    return HiddenCase(f"a hidden shape ({sizes}; {case.distribution} values)", stage, expected)


def examine_hidden(
    arm: Arm, cases: Sequence[HiddenCase], *, collects: bool, call_timeout_s: float
) -> tuple[str, Comparison] | None:
    """Run every hidden case; the first failure with the case's name, or None."""
    for case in cases:
        try:
            desk = case.stage.seat(arm, collects=collects, call_timeout_s=call_timeout_s)
        except ArmFailed as failure:
            return case.name, refusal(failure)
        try:
            _, chosen = case.stage.call(desk, None, index=0)
            found = case.stage.check(desk, chosen, expected=case.expected)
        except ArmFailed as failure:
            return case.name, refusal(failure)
        finally:
            case.stage.leave(desk)
        if not found.matches:
            return case.name, found
    return None
