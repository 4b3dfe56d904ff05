"""Processes are killed at random moments; the log must not show it."""

import random
import subprocess
import sys
import time

import pytest

from deep_agent.executor.submit import accept
from deep_agent.htdag.job import JobStatus
from deep_agent.storage.database import connect
from deep_agent.storage.open import DATABASE_FILE, open_storage
from tests.integration.engine_builders import WallClock, a_goal
from tests.integration.engine_invariants import all_events, check_job, left_over

pytestmark = pytest.mark.integration


def start_server(home):
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.engine_chaos", str(home)], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout.readline() == "serving\n"
    return server


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_job_ends_whole_however_often_its_server_is_killed(tmp_path, seed):
    rng = random.Random(seed)
    storage = open_storage(tmp_path)
    jobs = [
        accept(storage.store, WallClock(), a_goal("/p/a", "/p/b", wall_s=600, webhook="https://example.org/h")).job.id
        for _ in range(2)
    ]
    kills = 0
    while storage.store.running_jobs() and kills < 5:
        server = start_server(tmp_path)
        time.sleep(rng.uniform(0.05, 0.7))
        server.kill()
        server.wait()
        server.stdout.close()
        kills += 1
        for job_id in jobs:
            check_job(storage, job_id)
    server = start_server(tmp_path)
    out, _ = server.communicate(timeout=60)
    assert out == "ended\n"
    database = connect(tmp_path / DATABASE_FILE)
    for job_id in jobs:
        assert storage.reads.job(job_id).status is JobStatus.SUCCEEDED
        check_job(storage, job_id)
        assert len(storage.reads.versions(job_id)) == 12
        assert not left_over(database, job_id)
        sent = storage.deliveries.deliveries(job_id)
        assert [delivery.type for delivery, _ in sent].count("job.ended") == 1
        assert all(delivery.state == "delivered" for delivery, _ in sent)
        lost = [e for e in all_events(storage, job_id) if e.payload.get("cause") == "worker_lost"]
        assert all(e.at_s for e in lost)
    assert kills >= 1
    database.close()
    storage.close()


def test_after_a_kill_the_next_server_takes_over_at_once(tmp_path):
    storage = open_storage(tmp_path)
    job_id = accept(storage.store, WallClock(), a_goal(wall_s=600)).job.id
    server = start_server(tmp_path)
    while not any(
        node.state == "running" and node.name.startswith("vary") for node in storage.reads.graph(job_id).nodes
    ):
        time.sleep(0.005)
    server.kill()
    server.wait()
    server.stdout.close()
    began_s = time.monotonic()
    following = start_server(tmp_path)
    out, _ = following.communicate(timeout=60)
    assert out == "ended\n"
    # A lease lasts a minute: only the lock of the dead process can have told the next one so early.
    assert time.monotonic() - began_s < 30
    check_job(storage, job_id)
    storage.close()
