"""Runs an arm's calls back to back on a CUDA device, between emptyings of its cache. Loads torch and libcuda.

Events time each call and the whole, and a witness digests what results hold when the last emptying ends. All of it happens
in the arm's process, which is believed in nothing: the judge holds it against its own clock and its own digests.
"""

import array
import base64
from collections.abc import Callable, Mapping, Sequence
from random import SystemRandom
from typing import Final

import torch

from deep_agent.harness.sandbox.clearing import Clearing
from deep_agent.harness.sandbox.driver import forbid_persisting_lines
from deep_agent.harness.sandbox.witness import SALT_VALUES, Witness

Call = Callable[[], object]
Results = Callable[[], Sequence[torch.Tensor]]
_CHANCE: Final = SystemRandom()
"""No seed that a candidate sets tells what comes of it."""


class Bursts:
    """What bursts of one arm need; a context must be current, and stays so."""

    def __init__(self, kernels: Mapping[str, str], n_bytes: int) -> None:
        """Load the machine code of the kernels, in base64 by name; emptying reads at least n_bytes."""
        self._clearing = Clearing(base64.b64decode(kernels["clearing"]), n_bytes)
        self._witness = Witness(base64.b64decode(kernels["witness"]))
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        """Before and after a call, or all of them; kept, since making them takes the host as long as many a launch."""

    def run(self, calls: Sequence[Call | None], results: Sequence[Results], *, empties: bool, hold_us: float) -> bytes:
        """Make the calls in turn, on the current stream, and wait for the device.

        Args:
            calls: one by one; None is an emptying alone.
            results: give what distinct calls have left, asked once all calls are made; none to have nothing digested.
            empties: whether the cache is emptied before each call, and once more at the end. Kernels on other streams that
                begin before that show in the whole, because none runs beside an emptying.
            hold_us: how long the device is held first, so that calls lie queued when it comes to them, and events see no
                waiting for the host.

        Returns:
            Doubles: what each call took, in us; the whole, in us; a salt, and with it the digest of each of `results` after the whole.
        """
        while len(self._events) <= len(calls):
            self._events.append((torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)))
        forbid_persisting_lines()
        self._witness.forget()
        if empties and hold_us:
            self._clearing.hold(hold_us)
        first, last = self._events[len(calls)]
        first.record()
        self._queue(calls, empties=empties)
        last.record()
        # With a salt and in an order that nobody knows before: whatever is still to come is too late for some.
        salt = _CHANCE.randrange(SALT_VALUES)
        try:
            for place in _CHANCE.sample(range(len(results)), k=len(results)):
                self._witness.see(place, results[place](), salt)
        finally:
            # Nothing may run on in another arm's turn, whatever a result turns out to be.
            torch.cuda.synchronize()
        timed = [*self._events[: len(calls)], (first, last)]
        times_us = [before.elapsed_time(after) * 1e3 for before, after in timed]
        return array.array("d", [*times_us, salt, *self._witness.digests(len(results))]).tobytes()

    def _queue(self, calls: Sequence[Call | None], *, empties: bool) -> None:
        for call, (before, after) in zip(calls, self._events, strict=False):
            if empties:
                self._clearing.empty()
            before.record()
            if call is not None:
                call()
            after.record()
        if empties:
            self._clearing.empty()
