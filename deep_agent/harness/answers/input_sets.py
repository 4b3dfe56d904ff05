"""Makes the input sets of a workload, in memory that arms may read. Loads torch."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Final

import torch

from deep_agent.harness.answers.inputs import Case, make_inputs
from deep_agent.harness.answers.reference import Argument, Reference
from deep_agent.harness.arms.memory import Region
from deep_agent.harness.arms.places import Place
from deep_agent.problem.workload import CustomInput

_SHARE_CHANGED: Final = 512
"""One block of about 1/512 of each input tensor is another before each call."""


@dataclass(slots=True)
class InputSet:
    """One set of inputs in sealed memory."""

    region: Region
    arguments: dict[str, Argument]
    """Input name -> the judge's own view of it, or the scalar."""
    movable: tuple[str, ...]
    """Tensor inputs whose blocks may be moved about without losing their meaning."""
    whole: tuple[str, ...] = ()
    """Tensor inputs that mean something together only, as the definition's own generator made them."""
    draw: Callable[[], Mapping[str, Argument]] | None = None
    """Makes those anew."""
    master: torch.Tensor | None = None
    """A copy of the whole region out of arms' reach, where they could write to the region; None where they cannot."""

    @property
    def n_bytes(self) -> int:
        """Memory it holds, the copy included."""
        return self.region.n_bytes * (1 if self.master is None else 2)

    @property
    def numbers(self) -> dict[str, Argument]:
        """Inputs that are no tensors: an arm is told them once, so tensors of other numbers never take the place of these."""
        return _numbers(self.arguments)

    def restore(self) -> None:
        """Undo whatever an arm has done to the inputs."""
        if self.master is not None:
            self.region.content.copy_(self.master)

    def is_untouched(self) -> bool:
        """Whether the region holds what the judge put there."""
        return self.master is None or torch.equal(self.region.content.view(torch.int64), self.master.view(torch.int64))

    def exchange(self, other: "InputSet", chance: Random) -> None:
        """Swap a random block of each movable tensor for one of another set of the same workload, from anywhere in it.

        What a set adds up to changes with it, and over all sets no value is lost or comes twice, however often this is
        done: copying within a set would leave few different values in time, and with them few wrong answers to find.
        A set that has no other swaps with itself, where blocks may overlap; it has few calls. What means something
        together only is swapped together.
        """
        for name in self.whole if other is not self and other.numbers == self.numbers else ():
            given, taken = self.trusted(name).clone(), other.trusted(name).clone()
            self.write(name, taken)
            other.write(name, given)
        for name in self.movable:
            mine, theirs = self.trusted(name), other.trusted(name)
            n_values = mine.numel()
            block = max(1, n_values // _SHARE_CHANGED)
            here, there = (chance.randrange(n_values - block + 1) for _ in range(2))
            given, taken = mine[here : here + block].clone(), theirs[there : there + block].clone()
            for flat in self.copies(name):
                flat[here : here + block] = taken
            for flat in other.copies(name):
                flat[there : there + block] = given

    def renew(self, chance: Random) -> None:
        """Move every value of each movable tensor by one random distance: of the last contents no row stays as it was.

        What means something together only is drawn anew.
        """
        if self.draw is not None:
            made = self.draw()
            for name in self.whole if _numbers(made) == self.numbers else ():
                value = made[name]
                assert isinstance(value, torch.Tensor)
                self.write(name, value.reshape(-1))
        for name in self.movable:
            tensor = self.region.tensors[name]
            n_values, n_columns = tensor.numel(), tensor.shape[-1]
            distance = chance.randrange(1, n_values)
            if n_columns > 1 and distance % n_columns == 0:
                distance -= 1
            trusted = self.trusted(name)
            # As bytes: not every element type can be rolled.
            values = trusted.view(torch.uint8).view(n_values, -1)
            moved = torch.roll(values, distance, 0).view(-1).view(trusted.dtype)
            self.write(name, moved)

    def write(self, name: str, values: torch.Tensor) -> None:
        """Give an input other values; `values` has as many, in order."""
        for flat in self.copies(name):
            flat.copy_(values)

    def trusted(self, name: str) -> torch.Tensor:
        """Give the values of an input in order, from where no arm can have written."""
        if self.master is None:
            return self.region.tensors[name].view(-1)
        return self.region.view_of(name, self.master).view(-1)

    def copies(self, name: str) -> list[torch.Tensor]:
        """Give all that has to be written where values of an input change."""
        shared = self.region.tensors[name].view(-1)
        return [shared] if self.master is None else [shared, self.trusted(name)]

    @contextmanager
    def holding(self, made: Mapping[str, Argument]) -> Iterator[None]:
        """Hold other values for a while, of the same shapes; what it held before is back afterwards."""
        kept = {name: self.trusted(name).clone() for name in self.region.tensors}
        for name in self.region.tensors:
            value = made[name]
            assert isinstance(value, torch.Tensor)
            self.write(name, value.reshape(-1))
        try:
            yield
        finally:
            for name, values in kept.items():
                self.write(name, values)

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
        self.master = None
        self.region.close()


def _numbers(arguments: Mapping[str, Argument]) -> dict[str, Argument]:
    return {name: value for name, value in arguments.items() if not isinstance(value, torch.Tensor)}


def make_input_set(reference: Reference, case: Case, chance: Random, place: Place) -> InputSet:
    """Draw inputs under a secret seed and put them into sealed memory; whatever it raises, none of that stays."""

    def drawn() -> dict[str, Argument]:
        return make_inputs(reference, case, place.generator(chance.getrandbits(62)))

    made = drawn()
    specs = {
        name: (tuple(value.shape), reference.definition.inputs[name].dtype)
        for name, value in made.items()
        if isinstance(value, torch.Tensor)
    }
    region = place.region(specs, chance, sealed=True)
    try:
        return _filled(case, region, made, place, drawn)
    except BaseException:
        region.close()
        raise


def _filled(
    case: Case, region: Region, made: dict[str, Argument], place: Place, draw: Callable[[], dict[str, Argument]]
) -> InputSet:
    arguments = dict(made)
    for name, tensor in region.tensors.items():
        source = made[name]
        assert isinstance(source, torch.Tensor)
        tensor.copy_(source)
        arguments[name] = tensor
    custom = {name for name, entry in case.workload.inputs.items() if isinstance(entry, CustomInput)}
    movable = tuple(name for name, tensor in region.tensors.items() if tensor.numel() > 1 and name not in custom)
    whole = tuple(name for name in region.tensors if name in custom)
    master = None if place.index is None else region.content.clone()
    return InputSet(region, arguments, movable, whole, draw if whole else None, master)
