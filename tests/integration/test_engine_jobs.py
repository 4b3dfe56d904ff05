"""The engine in one process: whole jobs, failures, control, restart."""

import threading
import time

import pytest

from deep_agent.errors import Conflict, HarnessFailed, InvalidInput
from deep_agent.executor import control
from deep_agent.executor.action import ActionContext
from deep_agent.executor.submit import accept
from deep_agent.htdag.hop import IdempotencyKey
from deep_agent.htdag.job import JobStatus
from deep_agent.htdag.outcome import Outcome
from deep_agent.storage.database import connect
from deep_agent.storage.open import DATABASE_FILE
from tests.integration.engine_builders import Toy, Wired, a_goal, toy_actions
from tests.integration.engine_invariants import all_events, check_job, left_over

pytestmark = pytest.mark.integration


class Raises:
    def __init__(self, *errors, then=None):
        self.errors = list(errors)
        self.then = then or {}

    def run(self, inputs, ctx: ActionContext) -> Outcome:
        if self.errors:
            raise self.errors.pop(0)
        return Outcome(outputs=self.then)


class Waits:
    """Runs until it is asked to stop."""

    def __init__(self):
        self.started = threading.Event()
        self.stopped = threading.Event()

    def run(self, inputs, ctx: ActionContext) -> Outcome:
        self.started.set()
        while True:
            if ctx.cancelled():
                self.stopped.set()
                ctx.check()
            time.sleep(0.02)


def submit(wired, *names, **more):
    job = accept(wired.storage.store, wired.clock, a_goal(*names, **more)).job
    wired.engine.wake()
    return job.id


def states(wired, job_id):
    return {node.name: node.state.value for node in wired.storage.reads.graph(job_id).nodes}


def assert_clean(home, wired, job_id):
    check_job(wired.storage, job_id)
    database = connect(home / DATABASE_FILE)
    end_s = time.monotonic() + 5
    while (left := left_over(database, job_id)) and time.monotonic() < end_s:
        time.sleep(0.05)
    database.close()
    assert not left


def test_a_goal_of_two_problems_ends_with_all_its_steps_done_and_every_webhook_sent_once(tmp_path):
    with Wired(tmp_path, n_steps=4) as wired:
        job_id = submit(wired, "/p/rmsnorm", "/p/softmax", webhook="https://example.org/hook")
        job = wired.follow(job_id)
        assert job.status is JobStatus.SUCCEEDED
        assert (job.summary["solved"], job.summary["problems"]) == (2, 2)
        assert set(states(wired, job_id).values()) == {"done"}
        assert len(wired.storage.reads.versions(job_id)) == 8
        assert_clean(tmp_path, wired, job_id)
        ids = [delivery.id for delivery in wired.notifier.received]
        assert len(ids) == len(set(ids)) == 3
        assert [delivery.type for delivery in wired.notifier.received][-1] == "job.ended"


def test_one_problem_that_cannot_be_characterized_leaves_the_other_alone(tmp_path):
    class Picky(Toy):
        def run(self, inputs, ctx):
            if "bad" in str(ctx.params["problem"]):
                raise InvalidInput("the reference returns NaN.", remedy="Mend it.")
            return super().run(inputs, ctx)

    with Wired(tmp_path, actions=toy_actions() | {"characterize": Picky()}) as wired:
        job_id = submit(wired, "/p/bad", "/p/softmax")
        job = wired.follow(job_id)
        assert job.status is JobStatus.SUCCEEDED
        assert job.summary["solved"] == 1
        bad, good = job.summary["branches"]
        assert (bad["state"], good["state"]) == ("failed", "done")
        assert bad["reason"] == "characterize: the reference returns NaN. Mend it."
        assert_clean(tmp_path, wired, job_id)


def test_a_refuted_champion_gives_way_to_the_runner_up_and_then_to_the_library(tmp_path):
    class Refutes(Toy):
        def run(self, inputs, ctx):
            self.runs.append(str(ctx.params["candidate"]))
            found = "library" if ctx.params["candidate"] == "library" else "refuted"
            return Outcome(outputs={"verdict": found, "solution_hash": str(ctx.params["candidate"])})

    verify, package = Refutes(), Toy()
    with Wired(tmp_path, actions=toy_actions() | {"verify": verify, "package": package}) as wired:
        job_id = submit(wired)
        job = wired.follow(job_id)
        assert verify.runs == ["champion", "runner_up", "library"]
        assert len(package.runs) == 1
        assert job.status is JobStatus.SUCCEEDED
        assert job.summary["branches"][0]["verdict"] == "library"
        last = next(n for n in wired.storage.reads.graph(job_id).nodes if n.name == "verify-3")
        assert last.replaces == "verify-2"
        assert last.params["refuted"] == ["champion", "runner_up"]
        assert_clean(tmp_path, wired, job_id)


def test_broken_infrastructure_is_tried_again_and_does_not_count_as_a_result(tmp_path):
    flaky = Raises(HarnessFailed("the device is gone."), OSError("pipe"), then={"noise": 1.0})
    with Wired(tmp_path, actions=toy_actions() | {"characterize": flaky}) as wired:
        job_id = submit(wired)
        assert wired.follow(job_id).status is JobStatus.SUCCEEDED
        node = next(n for n in wired.storage.reads.graph(job_id).nodes if n.name == "characterize")
        assert node.attempt == 3
        causes = [e.payload["cause"] for e in all_events(wired.storage, job_id) if e.payload.get("cause")]
        assert causes == ["the device is gone.", "OSError: pipe"]
        assert_clean(tmp_path, wired, job_id)


def test_a_report_that_fails_fails_the_job(tmp_path):
    with Wired(tmp_path, actions=toy_actions() | {"report": Raises(InvalidInput("no template."))}) as wired:
        job = wired.follow(submit(wired))
        assert job.status is JobStatus.FAILED
        assert "no template" in job.reason
        assert job.summary["solved"] == 1


def test_an_action_that_is_missing_fails_its_branch_with_the_names_that_are_known(tmp_path):
    actions = toy_actions()
    del actions["verify"]
    with Wired(tmp_path, actions=actions) as wired:
        job = wired.follow(submit(wired))
        assert "no action 'verify' is known here" in job.summary["branches"][0]["reason"]


def test_a_method_that_raises_ends_its_node_and_not_the_engine(tmp_path):
    class Broken:
        max_children = 3

        def expand(self, node, view):
            raise ZeroDivisionError("oh")

        revise = conclude = expand

    from deep_agent.planner.builtin import builtin_methods
    from tests.integration.engine_builders import steps

    with Wired(tmp_path, methods=dict(builtin_methods(steps(1))) | {"evolve": Broken()}) as wired:
        job_id = submit(wired)
        job = wired.follow(job_id)
        assert job.status is JobStatus.SUCCEEDED
        named = {node.name: node for node in wired.storage.reads.graph(job_id).nodes}
        assert named["evolve"].state == "failed"
        assert "ZeroDivisionError" in named["evolve"].reason
        assert named["verify"].state == "superseded"
        assert named["package-2"].state == "done"
        assert_clean(tmp_path, wired, job_id)


def test_cancel_stops_what_runs_within_two_seconds_and_starts_nothing_more(tmp_path):
    waits = Waits()
    with Wired(tmp_path, actions=toy_actions() | {"vary": waits}) as wired:
        job_id = submit(wired, "/p/a", "/p/b", "/p/c", webhook="https://example.org/hook")
        assert waits.started.wait(10)
        began_s = time.monotonic()
        control.cancel(wired.storage.store, wired.storage.reads, wired.clock, job_id, reason="enough")
        wired.engine.wake()
        job = wired.follow(job_id)
        assert time.monotonic() - began_s < 4
        assert waits.stopped.is_set()
        assert job.status is JobStatus.CANCELLED
        assert not {"running", "dispatched", "pending"} & set(states(wired, job_id).values())
        assert_clean(tmp_path, wired, job_id)
        again = control.cancel(wired.storage.store, wired.storage.reads, wired.clock, job_id)
        assert again.version == job.version


def test_a_paused_job_starts_nothing_and_keeps_its_time(tmp_path):
    with Wired(tmp_path, n_steps=5, actions=toy_actions(sleep_s=0.1)) as wired:
        store, reads, clock = wired.storage.store, wired.storage.reads, wired.clock
        job_id = submit(wired)
        time.sleep(0.3)
        paused = control.pause(store, reads, clock, job_id)
        assert paused.status is JobStatus.PAUSED
        time.sleep(0.5)
        at_rest = reads.job(job_id).event_seq
        time.sleep(0.5)
        assert reads.job(job_id).event_seq == at_rest
        resumed = control.resume(store, reads, clock, job_id)
        wired.engine.wake()
        assert resumed.deadline_s - paused.deadline_s == pytest.approx(1.0, abs=0.5)
        assert wired.follow(job_id).status is JobStatus.SUCCEEDED
        assert_clean(tmp_path, wired, job_id)
        with pytest.raises(Conflict):
            control.resume(store, reads, clock, job_id)


def test_a_stopped_engine_leaves_a_job_that_the_next_one_finishes(tmp_path):
    waits = Waits()
    with Wired(tmp_path, actions=toy_actions() | {"vary": waits}) as wired:
        job_id = submit(wired)
        assert waits.started.wait(10)
        began_s = time.monotonic()
        assert wired.engine.stop()
        assert time.monotonic() - began_s < 2.5
    with Wired(tmp_path) as wired:
        assert wired.follow(job_id).status is JobStatus.SUCCEEDED
        drained = next(n for n in wired.storage.reads.graph(job_id).nodes if n.name == "vary-0001")
        assert drained.attempt == 2
        assert_clean(tmp_path, wired, job_id)


def test_a_second_engine_on_the_same_home_waits_and_takes_over(tmp_path):
    with Wired(tmp_path, actions=toy_actions(sleep_s=0.1)) as first:
        while not first.engine.leads:
            time.sleep(0.02)
        with Wired(tmp_path) as second:
            job_id = submit(second)
            time.sleep(0.4)
            assert not second.engine.leads
            first.engine.stop()
            assert second.follow(job_id).status is JobStatus.SUCCEEDED
            assert second.engine.leads
            assert_clean(tmp_path, second, job_id)


def test_a_result_that_comes_after_the_engine_gave_up_on_it_is_refused(tmp_path):
    class Deaf(Toy):
        def run(self, inputs, ctx):
            self.runs.append(f"{ctx.attempt}")
            if ctx.attempt == 1:
                time.sleep(1.2)
            return Outcome(outputs={"noise": float(ctx.attempt)})

    deaf = Deaf()
    wired = Wired(tmp_path, actions=toy_actions() | {"characterize": deaf})
    wired.engine.start()
    job_id = submit(wired)
    while not deaf.runs:
        time.sleep(0.02)
    assert not wired.engine.stop(timeout_s=0.5)
    time.sleep(1.0)
    with Wired(tmp_path, actions=toy_actions() | {"characterize": deaf}) as following:
        following.follow(job_id)
        node = next(n for n in following.storage.reads.graph(job_id).nodes if n.name == "characterize")
        assert (node.attempt, node.outputs) == (2, {"noise": 2.0})
        assert_clean(tmp_path, following, job_id)
    wired.storage.close()


def test_the_same_key_gives_the_same_job_and_another_request_is_refused(tmp_path):
    wired = Wired(tmp_path)
    key = IdempotencyKey(project="p", key="k", request_hash="one")
    first = accept(wired.storage.store, wired.clock, a_goal(), idempotency=key)
    again = accept(wired.storage.store, wired.clock, a_goal(), idempotency=key)
    assert (first.created, again.created) == (True, False)
    assert first.job.id == again.job.id
    other = IdempotencyKey(project="p", key="k", request_hash="two")
    with pytest.raises(InvalidInput, match="another request"):
        accept(wired.storage.store, wired.clock, a_goal(), idempotency=other)
    assert len(wired.storage.reads.jobs().jobs) == 1
    wired.storage.close()
