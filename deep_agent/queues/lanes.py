"""Owns lanes inside one process: threads that take hints by priority; the `Transport` port without a broker."""

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

from deep_agent.htdag.hop import Hint

DEFAULT_LANES: Mapping[str, int] = MappingProxyType({"think": 2, "build": 1, "cpu": 2})
"""Lane -> threads. The judge serialises the device by itself, so `think` may hold two searches."""


class InProcessLanes:
    """Named lanes; a hint for an unknown lane is an error of the wiring and raises KeyError."""

    def __init__(self, lanes: Mapping[str, int] = DEFAULT_LANES) -> None:
        self._n_threads = dict(lanes)
        self._queues: dict[str, list[tuple[float, int, Hint]]] = {name: [] for name in lanes}
        self._waiting: set[str] = set()
        self._arrivals = itertools.count()
        lock = threading.Lock()
        self._lock = lock
        self._arrived = {name: threading.Condition(lock) for name in lanes}
        self._threads: list[threading.Thread] = []
        self._stopping = False

    def publish(self, hints: tuple[Hint, ...]) -> None:
        """See `Transport.publish`; a hint that waits here already is not doubled."""
        with self._lock:
            for hint in hints:
                if hint.key in self._waiting:
                    continue
                heapq.heappush(self._queues[hint.lane], (hint.priority, next(self._arrivals), hint))
                self._waiting.add(hint.key)
                self._arrived[hint.lane].notify()

    def start(self, handle: Callable[[Hint], None]) -> None:
        """See `Transport.start`; starts nothing once `stop` was called, which may happen while this runs."""
        for lane, n_threads in self._n_threads.items():
            for n in range(n_threads):
                thread = threading.Thread(target=self._serve, args=(lane, handle), name=f"{lane}-{n}", daemon=True)
                # Listed and started in one step: a stop in between would wait for a thread that never ran.
                with self._lock:
                    if self._stopping:
                        return
                    thread.start()
                    self._threads.append(thread)

    def stop(self, *, timeout_s: float) -> bool:
        """See `Transport.stop`."""
        with self._lock:
            self._stopping = True
            threads = tuple(self._threads)
            for arrived in self._arrived.values():
                arrived.notify_all()
        end_s = time.monotonic() + timeout_s
        for thread in threads:
            thread.join(max(0.0, end_s - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _serve(self, lane: str, handle: Callable[[Hint], None]) -> None:
        while (hint := self._next(lane)) is not None:
            handle(hint)

    def _next(self, lane: str) -> Hint | None:
        queue = self._queues[lane]
        with self._lock:
            while not queue and not self._stopping:
                self._arrived[lane].wait()
            if self._stopping:
                return None
            hint = heapq.heappop(queue)[2]
            self._waiting.discard(hint.key)
            return hint
