"""Owns which benches a judge keeps, and who uses them: one user at a time, as many as fit. Loads torch; starts processes.

A search's bench is set up once and lent again and again; a verification's is set up for it alone. Setting up goes on
beside whatever the device does, and closing does not, because giving memory back disturbs whoever is timed.
"""

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Final

import psutil

from deep_agent.errors import HarnessFailed, InvalidInput
from deep_agent.harness.arms.places import Place
from deep_agent.harness.baseline_arms import Workplace
from deep_agent.harness.bench import Bench, Progress
from deep_agent.problem.evaluation import BaselineChoice
from deep_agent.problem.footprint import check_fits, workload_bytes
from deep_agent.problem.problem import Problem

EVERY_DEFAULT: Final = BaselineChoice()
"""The baselines that verdicts compare with."""
_COPIES: Final = 6
"""Sets of buffers a workload may hold at once: input sets, the judge's copies of them, and outputs of baselines, twin, candidate, incumbent."""
_MEMORY_SHARE: Final = 0.35
"""Share of a memory, the host's or a device's, that the benches kept in it may hold."""


class Benches:
    """The benches of one judge; safe to use from several threads."""

    def __init__(self, device: AbstractContextManager[object]) -> None:
        """Keep none yet; `device` is entered to close one, and no thread that asks for a bench is in it."""
        self._device = device
        self._kept: OrderedDict[str, Bench] = OrderedDict()
        self._keys = threading.Lock()
        self._setting_up: dict[str, threading.Lock] = {}

    def lend(
        self,
        workplace: Workplace,
        problem: Problem,
        device: str,
        progress: Progress,
        *,
        choice: BaselineChoice = EVERY_DEFAULT,
    ) -> AbstractContextManager[Bench]:
        """Give a problem's bench to one user, set up if there is none; benches of different problems side by side.

        Raises:
            InvalidInput: its workloads do not fit, or the reference is refused.
            HarnessFailed: no baseline runs although the reference does.
        """
        key = _key(problem, device, choice)
        return self._used(lambda: self._found(key, workplace, problem, progress, choice), progress)

    def lend_new(
        self, workplace: Workplace, problem: Problem, device: str, progress: Progress
    ) -> AbstractContextManager[Bench]:
        """Give a bench that nothing of the search takes part in: unseen inputs, addresses and processes for every arm.

        Raises:
            InvalidInput: as `lend`.
            HarnessFailed: one of the baselines that were best in the search does not run.
        """
        return self._used(lambda: self._new(_key(problem, device), workplace, problem, progress), progress)

    def _found(
        self, key: str, workplace: Workplace, problem: Problem, progress: Progress, choice: BaselineChoice
    ) -> Bench:
        with self._keys:
            setting_up = self._setting_up.setdefault(key, threading.Lock())
        with setting_up:
            bench = self._kept.get(key)
            if bench is None:
                require_room(problem, workplace.place)
                bench = Bench(workplace, problem, progress, choice=choice)
                with self._keys:
                    self._kept[key] = bench
                self._keep_to_share(workplace.place)
            with self._keys:
                if key in self._kept:
                    self._kept.move_to_end(key)
            return bench

    def _new(self, key: str, workplace: Workplace, problem: Problem, progress: Progress) -> Bench:
        require_room(problem, workplace.place)
        search = self._kept.get(key)
        if search is None or not search.best:
            return Bench(workplace, problem, progress)
        names = tuple({entry.source.name for entry in search.best.values()})
        self._give_way(workplace.place, search.footprint_bytes)
        bench = Bench(workplace, problem, progress, choice=BaselineChoice(names=names))
        lost = [f"{one.name} ({one.failure})" for one in bench.baselines() if one.failure]
        if lost:
            # What is left may be slower, and any figure over it larger than it is.
            with self._device:
                bench.close()
            raise HarnessFailed(
                f"the verification has not all of the search's best baselines of {problem.name!r}: {', '.join(lost)}.",
                remedy="Ask again; where that does not help, the reason says what the library's own call lacks.",
            )
        return bench

    @contextlib.contextmanager
    def _used(self, find: Callable[[], Bench], progress: Progress) -> Iterator[Bench]:
        """Have a bench to oneself: inputs change with every call, and others would meet the wrong ones.

        One on which anything broke is kept no longer, since an arm of its own may be dead, and stay so. What a candidate
        does wrong is found, not raised; but one that takes all memory of a device brings this about, and a champion that
        breaks does. A bench that is not kept, as no verification's is, ends with its use.

        Args:
            find: gives one that is set up; asked again where that has ended before this use could begin.
            progress: told that this waits.
        """
        bench = find()
        progress("waiting for the device")
        bench.lock.acquire()
        while bench.is_closed:
            bench.lock.release()
            bench = find()
            bench.lock.acquire()
        try:
            yield bench
        except BaseException:
            with self._keys:
                for key in [key for key, one in self._kept.items() if one is bench]:
                    del self._kept[key]
            with self._device:
                bench.close()
            raise
        finally:
            bench.lock.release()
            self._end_unless_kept(bench)

    def _end_unless_kept(self, bench: Bench) -> None:
        """Close a bench that is not kept, unless somebody uses it, who then does so."""
        with self._keys:
            if any(one is bench for one in self._kept.values()):
                return
        if not bench.is_closed and bench.lock.acquire(blocking=False):
            try:
                with self._device:
                    bench.close()
            finally:
                bench.lock.release()

    def _keep_to_share(self, place: Place) -> None:
        """Keep no more benches in a memory than fit its share: the least recently used go."""
        total_bytes = place.memory_bytes or psutil.virtual_memory().total
        self._let_go(place, int(_MEMORY_SHARE * total_bytes))

    def _give_way(self, place: Place, needed_bytes: int) -> None:
        """Let benches go, the search's own too, where a device has no room for as much beside them."""
        if place.memory_bytes is not None:
            self._let_go(place, place.memory_bytes, ("", needed_bytes))

    def _let_go(self, place: Place, limit_bytes: int, *coming: tuple[str, int]) -> None:
        with self._keys:
            held = [(key, one.footprint_bytes) for key, one in self._kept.items() if one.place_index == place.index]
            gone = [self._kept.pop(key) for key in beyond([*held, *coming], limit_bytes)]
        for bench in gone:
            self._end_unless_kept(bench)


def beyond(held: Sequence[tuple[str, int]], limit_bytes: int) -> tuple[str, ...]:
    """Name what has to go for the rest to fit the limit: the first ones, and never the last.

    Args:
        held: key and bytes of each, the least recently used first.
        limit_bytes: what all that stay may hold together.
    """
    left_bytes = sum(n_bytes for _, n_bytes in held)
    gone = []
    for key, n_bytes in held[:-1]:
        if left_bytes <= limit_bytes:
            break
        gone.append(key)
        left_bytes -= n_bytes
    return tuple(gone)


def require_room(problem: Problem, place: Place) -> None:
    """Refuse a problem whose workloads do not fit into the memory of a place; raises InvalidInput."""
    device_bytes = place.memory_bytes
    available_bytes = psutil.virtual_memory().available if device_bytes is None else device_bytes
    for workload in problem.workloads:
        check_fits(problem.definition, workload, available_bytes=available_bytes, copies=_COPIES)
    sizes = [workload_bytes(problem.definition, workload) for workload in problem.workloads]
    # At least: the judge's copies of inputs, and outputs of some arms, come on top. Benches that are kept now can go.
    held_bytes = sum(place.n_sets(n_bytes) * n_bytes for n_bytes in sizes)
    total_bytes = psutil.virtual_memory().total if device_bytes is None else device_bytes
    if held_bytes > total_bytes:
        raise InvalidInput(
            f"the {len(sizes)} workloads of {problem.name!r} hold at least {held_bytes / 2**30:.2f} GiB of inputs and outputs "
            f"at once; there are {total_bytes / 2**30:.2f} GiB.",
            remedy="Judge fewer workloads at a time, or smaller ones.",
        )


def _key(problem: Problem, device: str, choice: BaselineChoice = EVERY_DEFAULT) -> str:
    return f"{device} {choice.model_dump_json()} {problem.model_dump_json()}"
