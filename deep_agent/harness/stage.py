"""Sets a workload up for its arms: inputs, outputs, bindings, calls. Loads torch; holds shared memory.

A stage owns the input sets of one workload. Between any two calls it changes a few blocks of the inputs,
poisons the outputs, and reads through more than the last-level cache, so that no arm meets data it has seen,
results it has left, or lines a neighbour has warmed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from random import Random
from typing import Final

import torch

from deep_agent.harness.arm import Arm, ArmFailed, CallTiming
from deep_agent.harness.compare import Comparison, agrees, compare
from deep_agent.harness.inputs import Case, make_inputs
from deep_agent.harness.memory import Region
from deep_agent.harness.reference import Argument, Reference
from deep_agent.harness.wire import Finding, Verb
from deep_agent.problem.trace import Correctness, EvaluationStatus
from deep_agent.problem.workload import CustomInput, Workload

BIND_TIMEOUT_S: Final = 30.0
CALL_TIMEOUT_S: Final = 10.0
FIRST_CALL_TIMEOUT_S: Final = 120.0
"""For the first calls of a Python solution, which may compile."""
_SHARE_CHANGED: Final = 512
"""One block of about 1/512 of each input tensor moves before each call."""
_FINDING_STATUS: Final = {
    Finding.WRONG_SHAPE: EvaluationStatus.INCORRECT_SHAPE,
    Finding.WRONG_DTYPE: EvaluationStatus.INCORRECT_DTYPE,
    Finding.WRONG_TYPE: EvaluationStatus.INCORRECT_SHAPE,
    Finding.CHANGED_SETTINGS: EvaluationStatus.REWARD_HACK,
    Finding.RAISED: EvaluationStatus.RUNTIME_ERROR,
}


class CacheFlush:
    """A buffer larger than the last-level cache, read to push everything else out."""

    def __init__(self, last_level_cache_bytes: int) -> None:
        """Allocate and touch it; twice the cache, at least 16 MiB and at most 256 MiB."""
        n_bytes = min(max(2 * last_level_cache_bytes, 16 * 2**20), 256 * 2**20)
        self._buffer = torch.ones(n_bytes // 8, dtype=torch.int64)

    def __call__(self) -> None:
        """Read every line."""
        self._buffer.sum()


@dataclass(slots=True)
class InputSet:
    """One set of inputs in sealed memory."""

    region: Region
    arguments: dict[str, Argument]
    """Input name -> the judge's own view of it, or the scalar."""
    movable: tuple[str, ...]
    """Tensor inputs whose blocks may be moved about without losing their meaning."""

    def change(self, chance: Random) -> None:
        """Copy a random block over another in each movable tensor: the same kind of values, elsewhere."""
        for name in self.movable:
            flat = self.region.tensors[name].view(-1)
            block = max(1, flat.numel() // _SHARE_CHANGED)
            source, target = (chance.randrange(flat.numel() - block + 1) for _ in range(2))
            flat[target : target + block] = flat[source : source + block].clone()

    @contextmanager
    def emptied(self) -> Iterator[None]:
        """Fill the inputs with zeros for a while, so that nobody computes from them after the call."""
        kept = {name: tensor.clone() for name, tensor in self.region.tensors.items()}
        for tensor in self.region.tensors.values():
            tensor.zero_()
        try:
            yield
        finally:
            for name, tensor in self.region.tensors.items():
                tensor.copy_(kept[name])

    def close(self) -> None:
        """Give the memory back."""
        self.arguments = {}
        self.region.close()


def make_input_set(reference: Reference, case: Case, chance: Random) -> InputSet:
    """Draw inputs under a secret seed and put them into sealed memory."""
    generator = torch.Generator().manual_seed(chance.getrandbits(62))
    made = make_inputs(reference, case, generator)
    specs = {
        name: (tuple(value.shape), reference.definition.inputs[name].dtype)
        for name, value in made.items()
        if isinstance(value, torch.Tensor)
    }
    region = Region(specs, chance, sealed=True)
    arguments: dict[str, Argument] = dict(made)
    for name, tensor in region.tensors.items():
        source = made[name]
        assert isinstance(source, torch.Tensor)
        tensor.copy_(source)
        arguments[name] = tensor
    custom = {name for name, entry in case.workload.inputs.items() if isinstance(entry, CustomInput)}
    movable = tuple(
        name
        for name, tensor in region.tensors.items()
        if tensor.numel() > 1 and (tensor.is_floating_point() or name not in custom)
    )
    return InputSet(region, arguments, movable)


@dataclass(slots=True)
class Desk:
    """An arm's own outputs for one workload, and its bindings to the stage's input sets."""

    arm: Arm
    outputs: Region
    bindings: list[int] = field(default_factory=list)
    """Binding number by input set."""
    collects: bool = False
    """Whether the solution returns its results."""
    call_timeout_s: float = CALL_TIMEOUT_S

    @property
    def n_warm_calls(self) -> int:
        """Calls until times settle: results that are returned need an allocator that has seen a few of them."""
        return 8 if self.collects else 2


class Stage:
    """One workload with its input sets; used by the thread that holds the device."""

    def __init__(self, reference: Reference, workload: Workload, sets: Sequence[InputSet], chance: Random) -> None:
        """Take over the input sets; `close` ends them."""
        self.reference = reference
        self.workload = workload
        self._sets = tuple(sets)
        self._chance = chance
        self._next_binding = chance.randrange(1000)

    def seat(self, arm: Arm, *, collects: bool, call_timeout_s: float = CALL_TIMEOUT_S) -> Desk:
        """Give an arm its outputs and show it the inputs; raises ArmFailed."""
        definition = self.reference.definition
        sizes = definition.sizes(self.workload.axes)
        specs = {name: (definition.shape(name, sizes), spec.dtype) for name, spec in definition.outputs.items()}
        outputs = Region(specs, self._chance, sealed=False)
        desk = Desk(arm, outputs, collects=collects, call_timeout_s=call_timeout_s)
        for inputs in self._sets:
            self._next_binding += 1 + self._chance.randrange(9)
            described = [
                inputs.region.describe(name) if isinstance(value, torch.Tensor) else {"scalar": value}
                for name, value in inputs.arguments.items()
            ]
            destinations = [desk.outputs.describe(name) for name in specs]
            payload = {"binding": self._next_binding, "inputs": described, "outputs": destinations}
            arm.ask(Verb.BIND, payload, [inputs.region.fd, desk.outputs.fd], timeout_s=BIND_TIMEOUT_S)
            desk.bindings.append(self._next_binding)
        return desk

    def leave(self, desk: Desk) -> None:
        """Take an arm's buffers back; a dead arm is no matter."""
        for binding in desk.bindings:
            try:
                desk.arm.ask(Verb.UNBIND, {"binding": binding}, timeout_s=BIND_TIMEOUT_S)
            except ArmFailed:
                break
        desk.outputs.close()

    def call(self, desk: Desk, flush: CacheFlush | None, *, index: int | None = None) -> tuple[CallTiming, int]:
        """Change, poison, flush and call once; the timing and the input set used. Raises ArmFailed."""
        chosen = self._chance.randrange(len(self._sets)) if index is None else index
        if index is None:
            self._sets[chosen].change(self._chance)
        desk.outputs.poison(self._chance)
        if flush is not None:
            flush()
        timing = desk.arm.ask(Verb.CALL, {"binding": desk.bindings[chosen]}, timeout_s=desk.call_timeout_s)
        return timing, chosen

    def check(
        self, desk: Desk, chosen: int, *, expected: Sequence[torch.Tensor] | None = None, quick: bool = False
    ) -> Comparison:
        """Compare what the last call left with the reference on the inputs it had.

        Args:
            desk: whose outputs.
            chosen: the input set of that call.
            expected: results to compare with; None computes them natively now.
            quick: whether a yes without error figures will do.
        """
        try:
            found = self._check_frozen(desk, chosen, expected, quick=quick)
            if found.matches and desk.arm.confinement:
                desk.arm.ask(Verb.INSPECT, {}, timeout_s=CALL_TIMEOUT_S)
        except ArmFailed as failure:
            return refusal(failure)
        return found

    def _check_frozen(
        self, desk: Desk, chosen: int, expected: Sequence[torch.Tensor] | None, *, quick: bool
    ) -> Comparison:
        desk.arm.freeze()
        try:
            if desk.collects:
                self._collect(desk, chosen)
            if not desk.outputs.red_zones_intact():
                return Comparison(EvaluationStatus.REWARD_HACK, Correctness(), "it wrote outside its outputs")
            if expected is None:
                expected = self.reference(list(self._sets[chosen].arguments.values()))
            return self._compare(desk, expected, quick=quick)
        finally:
            desk.arm.thaw()

    def _collect(self, desk: Desk, chosen: int) -> None:
        """Have the results copied out. An untrusted arm finds its inputs gone: it must have worked in the call."""
        gone = self._sets[chosen].emptied() if desk.arm.confinement else nullcontext()
        with gone:
            desk.arm.thaw()
            desk.arm.ask(Verb.COLLECT, {"binding": desk.bindings[chosen]}, timeout_s=CALL_TIMEOUT_S)

    def _compare(self, desk: Desk, expected: Sequence[torch.Tensor], *, quick: bool) -> Comparison:
        tolerance = self.workload.tolerance
        pairs = zip(desk.outputs.tensors.values(), expected, strict=True)
        if quick and all(agrees(actual, truth, tolerance) for actual, truth in pairs):
            return Comparison(EvaluationStatus.PASSED, Correctness())
        worst = Comparison(EvaluationStatus.PASSED, Correctness())
        for (name, actual), truth in zip(desk.outputs.tensors.items(), expected, strict=True):
            found = compare(name, actual, truth, tolerance)
            if not found.matches:
                return found
            if found.correctness.max_absolute_error >= worst.correctness.max_absolute_error:
                worst = found
        return worst

    @property
    def n_sets(self) -> int:
        """How many input sets there are."""
        return len(self._sets)

    @property
    def input_bytes(self) -> int:
        """Shared memory of the input sets."""
        return sum(inputs.region.n_bytes for inputs in self._sets)

    def expected_in_double(self, index: int) -> tuple[torch.Tensor, ...]:
        """Run the reference in float64 on an input set."""
        return self.reference.in_double(list(self._sets[index].arguments.values()))

    def close(self) -> None:
        """Give the inputs back."""
        for inputs in self._sets:
            inputs.close()


def refusal(failure: ArmFailed) -> Comparison:
    """Turn an arm's failure into the finding it counts as."""
    if failure.timed_out:
        return Comparison(EvaluationStatus.TIMEOUT, Correctness(), failure.reason)
    status = EvaluationStatus.RUNTIME_ERROR if failure.finding is None else _FINDING_STATUS[failure.finding]
    return Comparison(status, Correctness(), failure.reason)
