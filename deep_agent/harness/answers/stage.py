"""Sets a workload up for its arms: inputs, outputs, bindings, calls. Loads torch; holds shared memory.

A stage owns the input sets of one workload. Between any two calls it changes a few blocks of the inputs,
poisons the outputs, and reads through more than the last-level cache, so that no arm meets data it has seen,
results it has left, or lines a neighbour has warmed.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from random import Random
from typing import Final, Literal, TypeAlias

import torch

from deep_agent.errors import InvalidInput
from deep_agent.harness.answers.compare import Comparison, agrees, compare
from deep_agent.harness.answers.input_sets import InputSet, make_input_set
from deep_agent.harness.answers.inputs import Case, Distribution, make_inputs
from deep_agent.harness.answers.reference import Reference
from deep_agent.harness.arms.arm import Arm, ArmFailed, CallTiming
from deep_agent.harness.arms.memory import Region
from deep_agent.harness.arms.places import Place
from deep_agent.harness.sandbox.wire import Finding, Verb
from deep_agent.problem.trace import Correctness, EvaluationStatus
from deep_agent.problem.workload import Workload

Change: TypeAlias = Literal["nothing", "a_block", "all"]
"""What of the inputs differs from those of the set's last call."""
BIND_TIMEOUT_S: Final = 30.0
CALL_TIMEOUT_S: Final = 10.0
FIRST_CALL_TIMEOUT_S: Final = 120.0
"""For the first calls of a Python solution, which may compile."""
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


@dataclass(frozen=True, slots=True)
class Slot:
    """A binding of an arm: one input set, and the outputs that its results go to."""

    binding: int
    outputs: Region


@dataclass(frozen=True, slots=True)
class Witnessed:
    """What an arm says its results held when a burst was over; whoever changes them later is found by it."""

    digests: Mapping[int, float]
    """By input set."""
    digest: Callable[[Sequence[Sequence[torch.Tensor]]], list[int]]
    """Gives the same of results as they are now."""


@dataclass(slots=True)
class Desk:
    """An arm's own outputs for one workload, and its bindings to the stage's input sets."""

    arm: Arm
    slots: list[Slot] = field(default_factory=list)
    """By input set; on the host they share one region of outputs."""
    owns_outputs: bool = True
    """Whether the outputs are this arm's alone."""
    call_us: float | None = None
    """What a call took in the latest short burst, which says how long the next may be; None before the first."""
    host_us: float = 0.0
    """What a call took of the host then, which says how long the device must be held for the next burst to lie queued."""
    collects: bool = False
    """Whether the solution returns its results."""
    witnessed: Witnessed | None = None
    """Of the latest burst; None after a call by itself."""
    copy_us: float = 0.0
    """Processor time of the latest copying of results that were returned."""
    call_timeout_s: float = CALL_TIMEOUT_S

    @property
    def n_warm_calls(self) -> int:
        """Calls until times settle: results that are returned need an allocator that has seen a few of them."""
        return 8 if self.collects else 2

    @property
    def output_bytes(self) -> int:
        """Shared memory of the outputs."""
        return sum(region.n_bytes for region in self._regions()) if self.owns_outputs else 0

    def _regions(self) -> list[Region]:
        return list({id(slot.outputs): slot.outputs for slot in self.slots}.values())

    def close(self) -> None:
        """Give the outputs back; idempotent."""
        for region in self._regions() if self.owns_outputs else ():
            region.close()
        self.slots.clear()


class Stage:
    """One workload with its input sets; used by the thread that holds the device."""

    def __init__(
        self, reference: Reference, workload: Workload, sets: Sequence[InputSet], chance: Random, place: Place
    ) -> None:
        """Take over the input sets; `close` ends them."""
        self.reference = reference
        self.workload = workload
        self.place = place
        self._sets = tuple(sets)
        self._chance = chance
        on_device = place.index is not None
        # Where memory lies on a device is worth half a per cent, and arms take turns: they write to the same place.
        self._common_outputs = self._outputs_by_set() if on_device else ()

    def restore(self) -> None:
        """Undo what an arm that is gone may have done to memory that the next one gets; on the host there is none."""
        for inputs in self._sets:
            inputs.restore()
        for outputs in self._common_outputs:
            outputs.paint_red_zones()

    @property
    def n_sets(self) -> int:
        """Input sets, and with them slots of each desk."""
        return len(self._sets)

    @contextmanager
    def under(self, distribution: Distribution, index: int) -> Iterator[None]:
        """Have an input set hold values of another distribution for a while."""
        case = Case(self.workload, distribution)
        made = make_inputs(self.reference, case, self.place.generator(self._chance.getrandbits(62)))
        with self._sets[index].holding(made):
            yield

    def seat(self, arm: Arm, *, collects: bool, call_timeout_s: float = CALL_TIMEOUT_S) -> Desk:
        """Give an arm its outputs and show it the inputs; raises ArmFailed."""
        on_device = self.place.index is not None
        desk = Desk(arm, collects=collects, call_timeout_s=call_timeout_s, owns_outputs=not on_device)
        own = None if on_device else self._new_outputs()
        try:
            for number, inputs in enumerate(self._sets):
                desk.slots.append(Slot(arm.next_binding(), own or self._common_outputs[number]))
                self._bind(arm, inputs, desk.slots[-1])
        except BaseException:
            desk.close()
            raise
        return desk

    def _outputs_by_set(self) -> tuple[Region, ...]:
        made = []
        with ExitStack() as failed:
            for _ in self._sets:
                made.append(self._new_outputs())
                failed.callback(made[-1].close)
            failed.pop_all()
        return tuple(made)

    def _new_outputs(self) -> Region:
        definition = self.reference.definition
        sizes = definition.sizes(self.workload.axes)
        specs = {name: (definition.shape(name, sizes), spec.dtype) for name, spec in definition.outputs.items()}
        return self.place.region(specs, self._chance, sealed=False)

    def _bind(self, arm: Arm, inputs: InputSet, slot: Slot) -> None:
        payload = {"binding": slot.binding, "device": self.place.index, **_layout(inputs, slot)}
        self.place.settle()
        arm.ask(Verb.BIND, payload, [inputs.region.fd, slot.outputs.fd], timeout_s=BIND_TIMEOUT_S)

    def snapshot(self, desk: Desk, chosen: int) -> tuple[dict[str, object], torch.Tensor]:
        """Give how a binding's buffers are laid out, and the bytes of its inputs now, uint8 of shape (n_bytes,), on the host."""
        inputs = self._sets[chosen]
        return _layout(inputs, desk.slots[chosen]), inputs.region.content.cpu()

    def leave(self, desk: Desk) -> None:
        """Take an arm's buffers back; a dead arm is no matter."""
        for slot in desk.slots:
            try:
                desk.arm.ask(Verb.UNBIND, {"binding": slot.binding}, timeout_s=BIND_TIMEOUT_S)
            except ArmFailed:
                break
        desk.close()

    def prepare(self, desk: Desk, chosen: int, *, change: Change = "a_block") -> None:
        """Change the inputs of a set and poison the outputs that go with it."""
        if change == "a_block":
            others = [one for number, one in enumerate(self._sets) if number != chosen]
            self._sets[chosen].exchange(self._chance.choice(others or self._sets), self._chance)
        elif change == "all":
            self._sets[chosen].renew(self._chance)
        desk.slots[chosen].outputs.poison(self._chance)

    def call(
        self, desk: Desk, flush: CacheFlush | None, *, index: int | None = None, change: Change = "a_block"
    ) -> tuple[CallTiming, int]:
        """Change, poison, flush and call once; the timing and the input set used, a given one unchanged. Raises ArmFailed."""
        desk.witnessed = None
        chosen = self._chance.randrange(len(self._sets)) if index is None else index
        self.prepare(desk, chosen, change=change if index is None else "nothing")
        self.place.settle()
        if flush is not None:
            flush()
        timing = desk.arm.ask(Verb.CALL, {"binding": desk.slots[chosen].binding}, timeout_s=desk.call_timeout_s)
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

    def copy_out(self, desk: Desk, chosen: int) -> None:
        """Have what the last call returned copied out, as for a check; raises ArmFailed."""
        desk.arm.stand_still()
        try:
            self._collect(desk, chosen)
        finally:
            desk.arm.thaw()

    def _check_frozen(
        self, desk: Desk, chosen: int, expected: Sequence[torch.Tensor] | None, *, quick: bool
    ) -> Comparison:
        desk.arm.stand_still()
        try:
            if desk.collects:
                self._collect(desk, chosen)
            outputs = desk.slots[chosen].outputs
            if not outputs.red_zones_intact():
                return Comparison(EvaluationStatus.REWARD_HACK, Correctness(), "it wrote outside its outputs")
            if not self._sets[chosen].is_untouched():
                return Comparison(EvaluationStatus.REWARD_HACK, Correctness(), "it changed its inputs")
            if expected is None:
                expected = self.expected(chosen)
            found = self._compare(outputs, expected, quick=quick)
            return _changed_afterwards(desk, chosen) or found if found.matches else found
        finally:
            desk.arm.thaw()

    def _collect(self, desk: Desk, chosen: int) -> None:
        """Have the results copied out. An untrusted arm finds its inputs gone: it must have worked in the call."""
        gone = self._sets[chosen].emptied() if desk.arm.confinement else nullcontext()
        with gone:
            self.place.settle()
            copied = desk.arm.ask(Verb.COLLECT, {"binding": desk.slots[chosen].binding}, timeout_s=CALL_TIMEOUT_S)
            desk.copy_us = copied.cpu_us
            # Before the inputs are back: it maps the buffers that are about to be compared.
            desk.arm.stand_still()

    def own_copy_us(self, desk: Desk) -> float:
        """Time this process copying one set of results, in us of processor time: the least of three."""
        tensors = list(desk.slots[0].outputs.tensors.values())
        took_ns = []
        for _ in range(3):
            started_ns = time.thread_time_ns()
            for tensor in tensors:
                tensor.clone()
            took_ns.append(time.thread_time_ns() - started_ns)
        return min(took_ns) / 1e3

    def _compare(self, outputs: Region, expected: Sequence[torch.Tensor], *, quick: bool) -> Comparison:
        tolerance = self.workload.tolerance
        pairs = zip(outputs.tensors.values(), expected, strict=True)
        if quick and all(agrees(actual, truth, tolerance) for actual, truth in pairs):
            return Comparison(EvaluationStatus.PASSED, Correctness())
        worst = Comparison(EvaluationStatus.PASSED, Correctness())
        for (name, actual), truth in zip(outputs.tensors.items(), expected, strict=True):
            found = compare(name, actual, truth, tolerance)
            if not found.matches:
                return found
            if found.correctness.max_absolute_error >= worst.correctness.max_absolute_error:
                worst = found
        return worst

    @property
    def shared_bytes(self) -> int:
        """Memory of the input sets, and of the outputs that all arms share."""
        return sum(inputs.n_bytes for inputs in self._sets) + sum(one.n_bytes for one in self._common_outputs)

    def expected(self, index: int) -> tuple[torch.Tensor, ...]:
        """Run the reference on an input set."""
        return self.reference(list(self._sets[index].arguments.values()))

    def sound_answer(self, index: int) -> tuple[torch.Tensor, ...] | None:
        """Run the reference in float64 on an input set; None where the library itself fails at its own precision.

        That is: it raises, or its answers are not finite, or beyond the tolerance of those in double precision.
        """
        try:
            native, precise = self.expected(index), self.expected_in_double(index)
        except InvalidInput:
            return None
        is_finite = all(bool(torch.isfinite(one.double()).all()) for one in (*native, *precise))
        return precise if is_finite and self._agree(native, precise) else None

    def _agree(self, native: Sequence[torch.Tensor], precise: Sequence[torch.Tensor]) -> bool:
        names = self.reference.definition.outputs
        return all(
            a.shape == b.shape and compare(name, a, b, self.workload.tolerance).matches
            for name, a, b in zip(names, native, precise, strict=True)
        )

    def truth(self, index: int) -> tuple[torch.Tensor, ...]:
        """Run the reference in float64 on an input set; natively where the two differ beyond the tolerance.

        An index, a rounded number or a truth may differ for good reasons, and the library's own answer is then as right.
        """
        native, precise = self.expected(index), self.expected_in_double(index)
        return precise if self._agree(native, precise) else native

    def expected_in_double(self, index: int) -> tuple[torch.Tensor, ...]:
        """Run the reference in float64 on an input set."""
        return self.reference.in_double(list(self._sets[index].arguments.values()))

    def close(self) -> None:
        """Give the inputs back."""
        for inputs in self._sets:
            inputs.close()
        for outputs in self._common_outputs:
            outputs.close()


def set_stage(reference: Reference, case: Case, chance: Random, place: Place, *, n_sets: int = 1) -> Stage:
    """Draw input sets of a case and put them on a stage; whatever it raises, none of them stays."""
    sets: list[InputSet] = []
    with ExitStack() as failed:
        for _ in range(n_sets):
            sets.append(make_input_set(reference, case, chance, place))
            failed.callback(sets[-1].close)
        stage = Stage(reference, case.workload, sets, chance, place)
        failed.pop_all()
    return stage


def _changed_afterwards(desk: Desk, chosen: int) -> Comparison | None:
    """Refuse results that were not there yet when a burst was over."""
    told = desk.witnessed
    # Where results are returned, only those of the checked call have been copied here.
    seen = [] if told is None else [one for one in told.digests if one == chosen or not desk.collects]
    if told is None or not seen:
        return None
    held = told.digest([list(desk.slots[one].outputs.tensors.values()) for one in seen])
    n_late = sum(now != told.digests[one] for one, now in zip(seen, held, strict=True))
    if not n_late:
        return None
    words = f"it worked on behind its answer: {n_late} of {len(seen)} results changed after their burst was over"
    return Comparison(EvaluationStatus.REWARD_HACK, Correctness(), words)


def _layout(inputs: InputSet, slot: Slot) -> dict[str, object]:
    """Describe the arguments of a binding in the regions of its inputs and outputs."""
    return {
        "inputs": [
            inputs.region.describe(name) if isinstance(value, torch.Tensor) else {"scalar": value}
            for name, value in inputs.arguments.items()
        ],
        "outputs": [slot.outputs.describe(name) for name in slot.outputs.placements],
        "region_bytes": [inputs.region.n_bytes, slot.outputs.n_bytes],
    }


def refusal(failure: ArmFailed) -> Comparison:
    """Turn an arm's failure into the finding it counts as."""
    if failure.timed_out:
        return Comparison(EvaluationStatus.TIMEOUT, Correctness(), failure.reason)
    status = EvaluationStatus.RUNTIME_ERROR if failure.finding is None else _FINDING_STATUS[failure.finding]
    return Comparison(status, Correctness(), failure.reason)
