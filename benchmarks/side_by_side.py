"""Sets benches of several problems up side by side, then measures each alone. Loads torch; starts arms.

Setting up compiles, and on a card the library's compiler tunes itself then, on one processor core an arm: minutes for
one problem, and mostly the processor's. So a batch is set up at once, each bench in a thread. Nothing is timed before
all of a batch have come that far, and while one is measured the others' arms sleep. What suffers is the tuning, which
met its neighbours on the device and may have chosen another configuration than it would have alone: the table makes
rows again, alone, where a tuned kernel lost to the untuned one.
"""

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import torch

from deep_agent.errors import HarnessFailed
from deep_agent.harness.arms.arm import ArmLimits, Zygote
from deep_agent.harness.arms.places import Place
from deep_agent.harness.baseline_arms import Workplace
from deep_agent.harness.bench import Bench
from deep_agent.harness.benches import require_room
from deep_agent.harness.characterization import characterized
from deep_agent.harness.equipment import device_kind, equipment, thread_count
from deep_agent.harness.folders import Folders
from deep_agent.problem.evaluation import BaselineChoice, Characterization
from deep_agent.problem.footprint import workload_bytes
from deep_agent.problem.problem import Problem

SHARE_OF_DEVICE: Final = 0.75
"""Of a card's memory that the benches of a batch may take by `needed_bytes`, which is an estimate."""
SPARE_COPIES: Final = 4
"""Copies of inputs and outputs beside the shared ones: results and intermediates, here and in the arms together."""
_CROWDED: Final = ("out of memory", "no memory", "took longer than")
"""Words of failures that a bench may owe to its neighbours."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """One problem that is to be measured."""

    problem: Problem
    choice: BaselineChoice

    @property
    def n_arms(self) -> int:
        """Arms of its bench, the best one's twin among them."""
        return len(self.choice.names or ()) + (self.choice.library is not None) + 1


def needed_bytes(wanted: Wanted, place: Place) -> int:
    """Estimate what the bench of a problem takes of its place's memory while it is set up and measured.

    Sets count twice: the judge keeps a copy of each set of inputs.
    """
    sizes = [workload_bytes(wanted.problem.definition, workload) for workload in wanted.problem.workloads]
    return sum((2 * place.n_sets(one) + SPARE_COPIES) * one for one in sizes) + wanted.n_arms * place.arm_bytes


def batches(needs_bytes: Sequence[int], *, most: int, limit_bytes: float) -> list[list[int]]:
    """Cut a row of needs into batches, in order: at most so many, and within the limit unless one alone exceeds it."""
    cut: list[list[int]] = []
    for number, need_bytes in enumerate(needs_bytes):
        has_room = cut and sum(needs_bytes[one] for one in cut[-1]) + need_bytes <= limit_bytes
        if has_room and len(cut[-1]) < most:
            cut[-1].append(number)
        else:
            cut.append([number])
    return cut


class Workshop:
    """A device with a zygote, on which benches are set up and measured; use as a context, from one thread."""

    def __init__(self, device: str, home: Path) -> None:
        """Keep the device's name, and the folder that compilers keep their results in."""
        self._device = device
        self._home = home
        self._zygote: Zygote | None = None
        self._opened: Workplace | None = None

    def __enter__(self) -> Self:
        """Start loading the library where nobody is disturbed; a processor is probed first, and at rest."""
        if device_kind(self._device) == "cuda":
            self._start()
        return self

    def __exit__(self, *_: object) -> None:
        """End every arm."""
        if self._zygote is not None:
            self._zygote.close()

    def _start(self) -> Zygote:
        if self._zygote is None:
            folders = Folders.under(self._home, hidden=())
            self._zygote = Zygote(folders.scratch, folders.hidden, folders.baselines)
        return self._zygote

    @property
    def _workplace(self) -> Workplace:
        if self._opened is None:
            # As the judge's own program: a reference on the processor has one thread.
            torch.set_num_threads(1)
            n_threads = thread_count(self._device) if device_kind(self._device) == "cpu" else 1
            limits = ArmLimits(memory_bytes=None, n_files=1024)
            self._opened = Workplace(self._start(), *equipment(self._device), n_threads, limits)
        return self._opened

    def batches(self, wanted: Sequence[Wanted], *, most: int) -> list[list[int]]:
        """Group problems by number, in order, so that each group fits the device at once; raises InvalidInput."""
        place = self._workplace.place
        limit_bytes = float("inf") if place.memory_bytes is None else SHARE_OF_DEVICE * place.memory_bytes
        return batches([needed_bytes(one, place) for one in wanted], most=most, limit_bytes=limit_bytes)

    def set_up(self, wanted: Sequence[Wanted], tell: Tell) -> list[Bench | Exception]:
        """Set benches up side by side; in place of one that cannot be, what it raised. The caller closes them."""
        workplace = self._workplace
        with ThreadPoolExecutor(len(wanted), initializer=workplace.place.attend) as pool:
            return list(pool.map(lambda one: _bench(workplace, one, tell), wanted))

    def measure(self, bench: Bench | Exception, tell: Tell) -> Characterization:
        """Time the baselines of a bench and the noise; whatever else is set up must be at rest.

        Raises:
            HarnessFailed: a baseline broke.
            Exception: what is there in place of a bench.
        """
        if isinstance(bench, Exception):
            raise bench
        return characterized(self._workplace, bench, self._device, nullcontext(), tell)

    def close(self, benches: Sequence[Bench | Exception]) -> None:
        """Give memory back that benches held.

        Raises:
            HarnessFailed: the device does not answer any more, so that nothing after this could be measured.
        """
        place = self._workplace.place
        try:
            for one in benches:
                if isinstance(one, Bench):
                    one.close()
            place.settle()
            if place.index is not None:
                torch.cuda.empty_cache()
        except RuntimeError as error:
            words = str(error).strip().splitlines()[0]
            raise HarnessFailed(
                f"{self._device} broke: {words}.", remedy="Run it again: kept rows are kept."
            ) from error

    def forget_tuning(self) -> None:
        """Drop what compilers keep between runs, so that they tune themselves anew; no bench may be set up meanwhile."""
        folders = Folders.under(self._home, hidden=())
        shutil.rmtree(folders.baselines)
        folders.baselines.mkdir()


def _bench(workplace: Workplace, wanted: Wanted, tell: Tell) -> Bench | Exception:
    def tell_whose(step: str) -> None:
        tell(f"{wanted.problem.name}: {step}")

    try:
        require_room(wanted.problem, workplace.place)
        return Bench(workplace, wanted.problem, tell_whose, choice=wanted.choice)
    # One problem must not end the others; whoever asked tells it as this one's result.
    except Exception as error:  # noqa: BLE001
        # Frames would keep tensors, and with them memory that the next one needs.
        error.__cause__ = error.__context__ = None
        return error.with_traceback(None)


def is_crowded_out(found: Bench | Exception) -> bool:
    """Whether a bench, or one of its baselines, failed in a way that its neighbours may be to blame for."""
    failures = [one.failure for one in found.baselines()] if isinstance(found, Bench) else [str(found)]
    return any(map(names_crowding, failures))


def names_crowding(failure: str) -> bool:
    """Whether a failure, in words, is one that neighbours may be to blame for."""
    return any(words in failure.lower() for words in _CROWDED)
