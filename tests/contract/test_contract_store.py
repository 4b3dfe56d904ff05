"""What `Store`, `JobReads` and `Deliveries` promise, on every adapter; today one: SQLite."""

import threading
from dataclasses import replace
from random import Random

import pytest

from deep_agent.errors import InvalidInput, NotFound
from deep_agent.executor import decide, recovery
from deep_agent.executor.decide import Answer
from deep_agent.executor.submit import accept
from deep_agent.htdag.goal import Budget, Goal, Spend
from deep_agent.htdag.hop import Commit, EventDraft, Hint, IdempotencyKey, JobStep, LevelStep, Verb, Verdict
from deep_agent.htdag.job import DeliveryAttempt, JobStatus
from deep_agent.htdag.level import Level
from deep_agent.htdag.node import NodeKind, NodeSpec, NodeState
from deep_agent.htdag.outcome import Announcement, Outcome, VersionEntry
from deep_agent.htdag.patch import AddNode, Connect, Edge, Patch
from deep_agent.storage.open import open_storage

CLOCK_S = 5_000.0


class StandingClock:
    def now_s(self):
        return CLOCK_S

    def sleep(self, duration_s):
        raise AssertionError("nothing sleeps here")


@pytest.fixture(params=["sqlite"])
def storage(request, tmp_path):
    opened = open_storage(tmp_path, synchronous="NORMAL")
    yield opened
    opened.close()


def a_job(storage, **goal):
    goal = {"problems": ("/p/a",), "budget": Budget(wall_s=60)} | goal
    return accept(storage.store, StandingClock(), Goal(**goal)).job


def open_root(storage, job, n_children=2, chain=True):
    """Expand the root into n children; gives the keys of the hints that start them."""
    root = f"{job.id}.goal"
    operations = [
        AddNode(
            spec=NodeSpec(name=f"n{i}", kind=NodeKind.ATOMIC, handler="noop", lane="think"),
            after=(f"n{i - 1}",) if chain and i else (),
        )
        for i in range(n_children)
    ]
    patch = Patch(level=root, base_revision=0, reason="test", operations=tuple(operations))

    def expand(planning):
        commit, _ = decide.opened(planning, Answer(patch=patch), max_children=9, now_s=CLOCK_S)
        return replace(commit, handled=f"expand:{root}:1")

    assert storage.store.plan(root, expand) is Verdict.COMMITTED
    return [Hint(verb=Verb.RUN, node_id=f"{root}.n{i}", job_id=job.id, attempt=1) for i in range(n_children)]


def claim(storage, hint, owner="w"):
    return storage.store.claim(hint, owner=owner, now_s=CLOCK_S, lease_s=60)


def level_of(storage, job, known=None):
    found = []

    def look(planning):
        found.append(planning.level)
        return Commit(job_id=job.id, now_s=CLOCK_S)

    storage.store.plan(f"{job.id}.goal", look, known=known)
    return found[0]


def test_an_accepted_goal_is_a_running_job_whose_first_hint_is_due(storage):
    job = a_job(storage)
    due = storage.store.due_hints(now_s=CLOCK_S, limit=9)
    assert [(one.hint.verb, one.hint.node_id) for one in due] == [(Verb.EXPAND, f"{job.id}.goal")]
    assert storage.reads.job(job.id) == job
    assert job.deadline_s == CLOCK_S + 60
    assert [event.kind for event in storage.reads.events(job.id)] == ["job.accepted", "node.added", "node.expanding"]


def test_a_key_stands_for_one_request(storage):
    key = IdempotencyKey(project="default", key="k", request_hash="1")
    goal = Goal(problems=("/p/a",))
    jobs = {accept(storage.store, StandingClock(), goal, idempotency=key).job.id for _ in range(3)}
    assert len(jobs) == 1
    with pytest.raises(InvalidInput):
        accept(storage.store, StandingClock(), goal, idempotency=replace(key, request_hash="2"))
    assert len(storage.reads.jobs().jobs) == 1


def test_one_of_many_claims_wins(storage):
    hint = open_root(storage, a_job(storage))[0]
    won = []
    threads = [threading.Thread(target=lambda n=n: won.append(claim(storage, hint, f"w{n}"))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (claimed,) = [one for one in won if one is not None]
    assert claimed.node.state is NodeState.RUNNING
    assert not storage.store.due_hints(now_s=CLOCK_S, limit=9)


def test_a_claim_needs_the_present_attempt_and_a_running_job(storage):
    job = a_job(storage)
    hint = open_root(storage, job)[0]
    assert claim(storage, replace(hint, attempt=2)) is None
    for status in (JobStatus.PAUSED, JobStatus.CANCELLING):
        step = JobStep(was=frozenset(JobStatus), status=status)
        storage.store.commit(Commit(job_id=job.id, now_s=CLOCK_S, job=step))
        assert claim(storage, hint) is None
    assert claim(storage, replace(hint, node_id=hint.node_id + "x")) is None


def test_a_node_ends_once_and_a_late_result_is_refused(storage):
    job = a_job(storage)
    claimed = claim(storage, open_root(storage, job)[0])
    lost = decide.end_of_lost(claimed, "worker_lost", now_s=CLOCK_S, rng=Random(1))
    late = decide.end_of_run(claimed, Outcome(outputs={"late": 1}, spend=Spend(evaluations=1)), now_s=CLOCK_S)
    assert storage.store.commit(lost) is Verdict.COMMITTED
    before = storage.reads.events(job.id)
    assert storage.store.commit(late) is Verdict.FENCED
    assert storage.reads.events(job.id) == before
    assert storage.reads.job(job.id).spend == Spend()
    again = claim(storage, Hint(verb=Verb.RUN, node_id=claimed.node.id, job_id=job.id, attempt=2))
    done = decide.end_of_run(again, Outcome(outputs={"x": 1}, spend=Spend(wall_s=1.5, evaluations=2)), now_s=CLOCK_S)
    assert storage.store.commit(done) is Verdict.COMMITTED
    assert storage.store.commit(done) is Verdict.FENCED
    assert storage.reads.job(job.id).spend == Spend(wall_s=1.5, evaluations=2)
    assert storage.store.leases() == ()


def test_everything_in_a_commit_becomes_true_or_nothing(storage):
    job = a_job(storage)
    claimed = claim(storage, open_root(storage, job)[0])
    version = VersionEntry(search="s", seq=0, commit_sha="c", kind="seed", solution_hash="h")
    commit = decide.end_of_run(claimed, Outcome(versions=(version,)), now_s=CLOCK_S)
    stale = replace(commit, levels=(replace(commit.levels[0], base_revision=99),))
    assert storage.store.commit(stale) is Verdict.MOVED
    assert storage.reads.versions(job.id) == ()
    assert storage.store.commit(commit) is Verdict.COMMITTED
    assert [(one.search, one.seq, one.node_id) for one in storage.reads.versions(job.id)] == [("s", 0, claimed.node.id)]


def test_inputs_are_the_outputs_of_data_predecessors(storage):
    job = a_job(storage)
    first, second = open_root(storage, job)
    root = f"{job.id}.goal"
    claimed = claim(storage, first)
    storage.store.commit(decide.end_of_run(claimed, Outcome(outputs={"x": 1}), now_s=CLOCK_S))

    def revise(planning):
        return decide.answered(planning, Answer(), max_children=9, now_s=CLOCK_S)[0]

    assert storage.store.plan(root, revise) is Verdict.COMMITTED
    assert claim(storage, second).inputs == {"n0": {"x": 1}}
    assert storage.store.inputs_of(second.node_id) == {"n0": {"x": 1}}
    assert [node.name for node in storage.store.ended_siblings(root)] == ["n0"]


def test_a_level_read_from_what_is_known_equals_the_level_read_whole(storage):
    job = a_job(storage)
    hints = open_root(storage, job, 4, chain=False)
    known = level_of(storage, job)
    claimed = claim(storage, hints[1])
    storage.store.commit(decide.end_of_run(claimed, Outcome(), now_s=CLOCK_S))
    claim(storage, hints[3])
    whole = level_of(storage, job)
    partly = level_of(storage, job, known=known)
    assert partly == replace(whole, edited=partly.edited)
    edge = Patch(
        level=whole.owner,
        base_revision=whole.revision,
        reason="more",
        operations=(
            AddNode(spec=NodeSpec(name="n9", kind=NodeKind.ATOMIC, handler="noop"), after=("n3",)),
            Connect(edge=Edge(src="n2", dst="n9", kind="order")),
        ),
    )
    storage.store.plan(
        whole.owner, lambda planning: decide.answered(planning, Answer(patch=edge), max_children=9, now_s=CLOCK_S)[0]
    )
    for earlier in (known, whole, Level(owner=whole.owner)):
        partly = level_of(storage, job, known=earlier)
        assert partly == replace(level_of(storage, job), edited=partly.edited)
    assert partly.fresh == frozenset()


def test_events_of_many_writers_are_numbered_without_gaps(storage):
    job = a_job(storage)

    def write(n):
        for i in range(10):
            draft = EventDraft(kind="x.y", payload={"n": n, "i": i})
            storage.store.commit(Commit(job_id=job.id, now_s=CLOCK_S, events=(draft, draft)))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = storage.reads.events(job.id, limit=1000)
    assert [event.seq for event in events] == list(range(1, 84))
    assert storage.reads.events(job.id, after=80)[0].seq == 81


def test_one_revise_waits_for_a_level_however_many_children_end(storage):
    job = a_job(storage)
    for hint in open_root(storage, job, 3, chain=False):
        storage.store.commit(decide.end_of_run(claim(storage, hint), Outcome(), now_s=CLOCK_S))
    due = storage.store.due_hints(now_s=CLOCK_S, limit=9)
    assert [one.hint.verb for one in due] == [Verb.REVISE]
    storage.store.mark_sent(tuple(one.row for one in due), now_s=CLOCK_S)
    assert storage.store.due_hints(now_s=CLOCK_S, limit=9) == ()
    assert storage.store.resend(sent_before_s=CLOCK_S) == 0
    assert storage.store.resend(sent_before_s=CLOCK_S + 1) == 1
    assert len(storage.store.due_hints(now_s=CLOCK_S, limit=9)) == 1


def test_a_plan_rests_on_the_status_of_its_job(storage):
    job = a_job(storage)
    root = f"{job.id}.goal"
    commit = Commit(
        job_id=job.id, now_s=CLOCK_S, while_status=JobStatus.CANCELLING, levels=(LevelStep(level_id=job.id),)
    )
    assert storage.store.commit(commit) is Verdict.MOVED
    pause = JobStep(was=frozenset({JobStatus.RUNNING}), status=JobStatus.PAUSED)
    assert storage.store.commit(Commit(job_id=job.id, now_s=CLOCK_S, job=pause)) is Verdict.COMMITTED
    assert storage.store.plan(root, lambda planning: pytest.fail("a paused job is not planned")) is Verdict.FENCED


def test_progress_is_noted_only_for_the_attempt_that_holds_the_lease(storage):
    job = a_job(storage)
    claimed = claim(storage, open_root(storage, job)[0])
    note = EventDraft(kind="search.step", payload={"n": 1}, node_id=claimed.node.id, attempt=1)
    assert storage.store.note(note, job_id=job.id, now_s=CLOCK_S)
    assert not storage.store.note(replace(note, attempt=2), job_id=job.id, now_s=CLOCK_S)
    assert storage.reads.events(job.id)[-1].kind == "search.step"


def test_leases_are_listed_by_owner_and_by_end_and_renewed(storage):
    claimed = claim(storage, open_root(storage, a_job(storage))[0], owner="w1")
    assert [lease.held.node.id for lease in storage.store.leases(owner="w1")] == [claimed.node.id]
    assert storage.store.leases(owner="w2") == ()
    assert len(storage.store.leases(expired_at_s=CLOCK_S + 61)) == 1
    storage.store.renew(owner="w1", now_s=CLOCK_S + 30, lease_s=60)
    assert storage.store.leases(expired_at_s=CLOCK_S + 61) == ()


def test_taking_over_gives_lost_nodes_their_next_attempt_at_once(storage):
    job = a_job(storage)
    claim(storage, open_root(storage, job)[0], owner="dead")
    recovery.take_over(storage.store, StandingClock(), owner="new", rng=Random(1))
    assert storage.store.leases() == ()
    (due,) = storage.store.due_hints(now_s=CLOCK_S + 1, limit=9)
    assert (due.hint.verb, due.hint.attempt) == (Verb.RUN, 2)


def test_an_announcement_is_one_event_and_one_delivery(storage):
    job = a_job(storage, webhook="https://example.org/h")
    claimed = claim(storage, open_root(storage, job)[0])
    said = Announcement(type="kernel.verified", payload={"problem": "a"})
    storage.store.commit(decide.end_of_run(claimed, Outcome(announcements=(said,)), now_s=CLOCK_S))
    (delivery,) = storage.deliveries.due_deliveries(now_s=CLOCK_S, limit=9)
    event = next(e for e in storage.reads.events(job.id) if e.kind == "kernel.verified")
    assert (delivery.id, delivery.seq, delivery.type) == (f"msg_{job.id}_{event.seq}", event.seq, "kernel.verified")
    assert delivery.body["timestamp"] == "1970-01-01T01:23:20+00:00"
    storage.deliveries.record_attempt(
        delivery.id, DeliveryAttempt(n=1, at_s=CLOCK_S, status_code=503), retry_at_s=CLOCK_S + 5
    )
    assert storage.deliveries.due_deliveries(now_s=CLOCK_S + 4, limit=9) == ()
    (again,) = storage.deliveries.due_deliveries(now_s=CLOCK_S + 5, limit=9)
    assert again.tries == 1
    storage.deliveries.record_attempt(delivery.id, DeliveryAttempt(n=2, at_s=CLOCK_S + 5, status_code=204))
    assert storage.deliveries.due_deliveries(now_s=CLOCK_S + 99, limit=9) == ()
    ((sent, attempts),) = storage.deliveries.deliveries(job.id)
    assert (sent.state, [one.status_code for one in attempts]) == ("delivered", [503, 204])


def test_a_disabled_endpoint_gets_nothing_more(storage):
    job = a_job(storage, webhook="https://example.org/h")
    claimed = claim(storage, open_root(storage, job)[0])
    said = Announcement(type="kernel.verified", payload={})
    storage.store.commit(decide.end_of_run(claimed, Outcome(announcements=(said,)), now_s=CLOCK_S))
    assert storage.deliveries.endpoint("https://example.org/h").disabled_s is None
    storage.deliveries.disable_endpoint("https://example.org/h", now_s=CLOCK_S, reason="gone")
    assert storage.deliveries.endpoint("https://example.org/h").reason == "gone"
    assert storage.deliveries.due_deliveries(now_s=CLOCK_S, limit=9) == ()
    assert storage.deliveries.endpoint("https://elsewhere.org") is None


def test_jobs_are_listed_newest_first_page_by_page(storage):
    ids = [a_job(storage).id for _ in range(7)]
    seen, cursor = [], None
    while True:
        page = storage.reads.jobs(limit=3, cursor=cursor)
        seen += [job.id for job in page.jobs]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert sorted(seen) == sorted(ids)
    assert len(seen) == 7
    assert storage.reads.jobs(status=JobStatus.FAILED).jobs == ()
    with pytest.raises(InvalidInput):
        storage.reads.jobs(cursor="nonsense")


def test_what_does_not_exist_is_said(storage):
    for read in (storage.reads.job, storage.reads.graph, storage.reads.events, storage.reads.versions):
        with pytest.raises(NotFound, match="jnone"):
            read("jnone")


def test_signs_of_life_tell_when_another_dispatcher_was_seen(storage):
    assert storage.store.beat(owner="a", now_s=10.0) is None
    assert storage.store.beat(owner="b", now_s=20.0) == 10.0
    assert storage.store.beat(owner="a", now_s=30.0) == 20.0
