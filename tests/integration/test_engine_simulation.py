"""One thread, one seed: hints are dropped, doubled, delayed and reordered, workers die in mid-run, time jumps."""

import random

import pytest

from deep_agent.errors import HarnessFailed
from deep_agent.executor import control, recovery
from deep_agent.executor.hops import LevelMemory, Planner
from deep_agent.executor.run import Runner, StopSigns
from deep_agent.executor.submit import accept
from deep_agent.htdag.hop import Verb
from deep_agent.htdag.job import JobStatus
from deep_agent.planner.builtin import builtin_methods
from deep_agent.storage.database import connect
from deep_agent.storage.open import DATABASE_FILE, open_storage
from tests.integration.engine_builders import a_goal, steps, toy_actions
from tests.integration.engine_invariants import check_job, left_over

pytestmark = pytest.mark.integration

LEASE_S = 60.0


class Died(BaseException):
    """The worker's process is gone: nothing catches this."""


class SimulatedClock:
    def __init__(self):
        self.at_s = 1_000.0

    def now_s(self):
        return self.at_s

    def sleep(self, duration_s):
        self.at_s += duration_s


class Unlucky:
    """Wraps an action: sometimes the worker dies before or after it, sometimes the judge breaks."""

    def __init__(self, action, rng):
        self._action = action
        self._rng = rng

    def run(self, inputs, ctx):
        fate = self._rng.random()
        if fate < 0.08:
            raise Died
        if fate < 0.16:
            raise HarnessFailed("the device is gone.")
        outcome = self._action.run(inputs, ctx)
        if fate > 0.95:
            raise Died
        return outcome


class Simulation:
    def __init__(self, home, seed):
        self.rng = random.Random(seed)
        self.clock = SimulatedClock()
        self.storage = open_storage(home, synchronous="NORMAL")
        self.wire = []
        self.generation = 0
        self.reborn()

    def reborn(self):
        """A new worker process: nothing in memory survives."""
        self.generation += 1
        store = self.storage.store
        self.owner = f"worker-{self.generation}"
        actions = {name: Unlucky(action, self.rng) for name, action in toy_actions().items()}
        methods = builtin_methods(steps(3))
        self.planner = Planner(store=store, clock=self.clock, methods=methods, memory=LevelMemory())
        self.runner = Runner(
            store=store, clock=self.clock, actions=actions, signs=StopSigns(), owner=self.owner, rng=self.rng
        )

    def relay(self):
        due = self.storage.store.due_hints(now_s=self.clock.now_s(), limit=100)
        for one in due:
            copies = self.rng.choice([0, 1, 1, 1, 2])
            self.wire.extend([one.hint] * copies)
        if self.rng.random() < 0.9:
            self.storage.store.mark_sent(tuple(one.row for one in due), now_s=self.clock.now_s())

    def step(self):
        self.clock.at_s += self.rng.choice([0.1, 0.1, 1.0, 20.0])
        self.relay()
        if self.wire and self.rng.random() < 0.9:
            self.handle(self.wire.pop(self.rng.randrange(len(self.wire))))
        if self.rng.random() < 0.1:
            recovery.sweep(
                self.storage.store,
                self.clock,
                owner=self.owner,
                lease_s=LEASE_S,
                resend_after_s=30.0,
                rng=self.rng,
            )

    def handle(self, hint):
        try:
            if hint.verb is Verb.RUN:
                self.runner.hop(hint, unexpected=str)
            else:
                self.planner.hop(hint)
        except Died:
            self.reborn()


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_to_hints_and_workers_the_job_ends_and_the_log_is_sound(tmp_path, seed):
    simulation = Simulation(tmp_path, seed)
    storage = simulation.storage
    job_id = accept(storage.store, simulation.clock, a_goal("/p/a", "/p/b", wall_s=1e6)).job.id
    for n_step in range(4000):
        simulation.step()
        if n_step % 200 == 0:
            check_job(storage, job_id)
        if storage.reads.job(job_id).has_ended and n_step % 50 == 0:
            break
    job = storage.reads.job(job_id)
    assert job.status is JobStatus.SUCCEEDED
    graph = check_job(storage, job_id)
    # A node may run out of attempts; then it failed, and its branch says so. Nothing else is left behind.
    assert set(graph.states.values()) <= {"done", "failed", "rescinded", "superseded"}
    for hint in simulation.wire:
        simulation.handle(hint)
    assert check_job(storage, job_id).states == graph.states
    database = connect(tmp_path / DATABASE_FILE)
    assert not left_over(database, job_id)
    database.close()
    storage.close()


@pytest.mark.parametrize("seed", range(6))
def test_a_cancel_at_any_moment_ends_the_job_and_starts_nothing_after_it(tmp_path, seed):
    simulation = Simulation(tmp_path, seed)
    storage = simulation.storage
    job_id = accept(storage.store, simulation.clock, a_goal("/p/a", "/p/b", wall_s=1e6)).job.id
    for _ in range(simulation.rng.randrange(60)):
        simulation.step()
    control.cancel(storage.store, storage.reads, simulation.clock, job_id)
    for _ in range(3000):
        simulation.step()
        if storage.reads.job(job_id).has_ended:
            break
    assert storage.reads.job(job_id).status in {JobStatus.CANCELLED, JobStatus.SUCCEEDED}
    check_job(storage, job_id)
    storage.close()
