"""Owns the dispatcher of one process: one lock, one relay, one sweeper, the lanes' door; decides no transition."""

import logging
import os
import secrets
import socket
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from deep_agent.errors import DeepAgentError
from deep_agent.executor import recovery
from deep_agent.executor.action import Action
from deep_agent.executor.hops import LevelMemory, Planner
from deep_agent.executor.run import LEASE_S, Runner, StopSigns
from deep_agent.htdag.hop import Hint, Verb
from deep_agent.planner.method import Method
from deep_agent.ports import Clock, Deliveries, HomeLock, Notifier, Store, Transport

BEAT_S = 2.0
POLL_S = 1.0
"""How soon what another process wrote is noticed."""
SIGNS_S = 0.25
"""How often it is asked which running nodes should stop."""
RELAY_BATCH = 500
GATHER_S = 0.002

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How patient the sweeper is; seconds."""

    sweep_s: float = 5.0
    lease_s: float = LEASE_S
    """How long a worker is believed after its last sign of life; renewed with every sweep."""
    resend_after_s: float = 60.0
    """When a hint that had no effect is sent again."""


@dataclass(frozen=True, kw_only=True)
class EngineParts:
    """What a dispatcher is wired from."""

    store: Store
    deliveries: Deliveries
    transport: Transport
    clock: Clock
    lock: HomeLock
    notifier: Notifier
    actions: Mapping[str, Action]
    methods: Mapping[str, Method]
    pace: Pace = Pace()


class Engine:
    """Runs jobs while its process holds the home's lock; else waits for it, and jobs go on in the other process."""

    def __init__(self, parts: EngineParts) -> None:
        self._parts = parts
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._signs = StopSigns()
        rng = Random(self._owner)
        self._rng = rng
        self._planner = Planner(store=parts.store, clock=parts.clock, methods=parts.methods, memory=LevelMemory())
        self._runner = Runner(
            store=parts.store,
            clock=parts.clock,
            actions=parts.actions,
            signs=self._signs,
            owner=self._owner,
            rng=rng,
            lease_s=parts.pace.lease_s,
        )
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._leads = False
        self._threads: list[threading.Thread] = []

    @property
    def leads(self) -> bool:
        """Whether this process runs the jobs of its home."""
        return self._leads

    @property
    def owner(self) -> str:
        """Who holds this engine's leases."""
        return self._owner

    def start(self) -> None:
        """Begin; returns at once, whether or not another process leads.

        Raises:
            ResourceExhausted: the lock's file cannot be made.
        """
        self._parts.lock.acquire()
        for name, body in (("relay", self._relay_loop), ("watch", self._watch_loop), ("notify", self._notify_loop)):
            thread = threading.Thread(target=body, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def wake(self) -> None:
        """Look at the outbox now: something was submitted or changed in this process."""
        self._woken.set()

    def flush(self, *, timeout_s: float) -> bool:
        """Wait until no webhook is due, for a program that ends with its job; False when the time is over."""
        end_s = time.monotonic() + timeout_s
        while self._parts.deliveries.due_deliveries(now_s=self._parts.clock.now_s(), limit=1):
            if time.monotonic() >= end_s:
                return False
            time.sleep(SIGNS_S / 5)
        return True

    def stop(self, *, timeout_s: float = 2.0) -> bool:
        """Stop claiming, ask running actions to stop, give back their leases uncounted, let the lock go.

        Returns:
            Whether every action stopped in time; the results of those that did not will be refused.
        """
        self._signs.drain()
        self._stopping.set()
        self._woken.set()
        end_s = time.monotonic() + timeout_s
        in_time = self._parts.transport.stop(timeout_s=max(0.0, timeout_s - 0.3))
        for thread in self._threads:
            thread.join(max(0.1, end_s - time.monotonic()))
        if self._leads:
            recovery.release(self._parts.store, self._parts.clock, owner=self._owner)
            self._parts.store.beat(owner=self._owner, now_s=self._parts.clock.now_s())
            self._leads = False
        self._parts.lock.release()
        return in_time

    def _relay_loop(self) -> None:
        """Lead once the lock is free, then publish what is due: woken, or at the latest every POLL_S."""
        while not self._stopping.is_set() and not self._lead():
            self._stopping.wait(POLL_S)
        while not self._stopping.is_set():
            try:
                more = self._relay_once()
            except DeepAgentError:
                log.exception("hints could not be published; they will be tried again")
                more = False
            if not more:
                self._woken.wait(POLL_S)
                self._woken.clear()
                # Bursts of commits are read together.
                self._stopping.wait(GATHER_S)

    def _lead(self) -> bool:
        """Become the dispatcher if no other process is."""
        try:
            if not self._parts.lock.acquire():
                return False
            recovery.take_over(self._parts.store, self._parts.clock, owner=self._owner, rng=self._rng)
        except DeepAgentError:
            log.exception("the home could not be taken over; it will be tried again")
            return False
        self._parts.transport.start(self._door)
        self._leads = True
        return True

    def _relay_once(self) -> bool:
        """Publish, then mark: a crash in between doubles hints and loses none. Give whether there may be more."""
        now_s = self._parts.clock.now_s()
        due = self._parts.store.due_hints(now_s=now_s, limit=RELAY_BATCH)
        self._parts.transport.publish(tuple(one.hint for one in due))
        self._parts.store.mark_sent(tuple(one.row for one in due), now_s=now_s)
        return bool(due)

    def _door(self, hint: Hint) -> None:
        """Do one hint; whatever happens becomes a stored state or, at worst, is done again by a later hint."""
        try:
            self._hop(hint)
        except Exception:
            log.exception("hop %s could not be finished; it will be sent again", hint.key)
        self._woken.set()

    def _hop(self, hint: Hint) -> None:
        if hint.verb is Verb.RUN:
            self._runner.hop(hint, unexpected=_described)
            return
        try:
            self._planner.hop(hint)
        except DeepAgentError:
            raise
        except Exception as error:  # noqa: BLE001 - the worker's door: a fault in a method ends its node, not its thread
            self._planner.hop(hint, fault=_described(error))

    def _watch_loop(self) -> None:
        """Show that this dispatcher lives, sweep, and pass on who should stop."""
        next_beat_s = next_sweep_s = 0.0
        while not self._stopping.wait(SIGNS_S):
            if not self._leads:
                continue
            now_s = time.monotonic()
            try:
                self._signs.want_only_others(self._parts.store.unwanted(owner=self._owner))
                if now_s >= next_beat_s:
                    self._parts.store.beat(owner=self._owner, now_s=self._parts.clock.now_s())
                    next_beat_s = now_s + BEAT_S
                if now_s >= next_sweep_s:
                    self._sweep()
                    next_sweep_s = now_s + self._parts.pace.sweep_s
            except DeepAgentError:
                log.exception("the sweep could not be finished; it will be tried again")

    def _sweep(self) -> None:
        recovery.sweep(
            self._parts.store,
            self._parts.clock,
            owner=self._owner,
            lease_s=self._parts.pace.lease_s,
            resend_after_s=self._parts.pace.resend_after_s,
            rng=self._rng,
        )

    def _notify_loop(self) -> None:
        """Send webhooks one after another, so that an attempt is never doubled."""
        while not self._stopping.wait(SIGNS_S):
            if not self._leads:
                continue
            try:
                due = self._parts.deliveries.due_deliveries(now_s=self._parts.clock.now_s(), limit=16)
                for delivery in due:
                    if self._stopping.is_set():
                        return
                    self._parts.notifier.deliver(delivery)
            except Exception:
                log.exception("webhooks could not be sent; they will be tried again")
                self._stopping.wait(POLL_S)


def _described(error: Exception) -> str:
    """Say in a line what was raised; the log keeps where."""
    log.error("an action or method raised what it should not", exc_info=error)
    return traceback.format_exception_only(error)[-1].strip()[:300]
