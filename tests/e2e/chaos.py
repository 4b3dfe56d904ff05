"""Kills a real server at random moments, starts it again, and checks what is left: `python tests/e2e/chaos.py --runs 20`.

Every job must end, no version may be lost or doubled, every webhook must arrive under one id an event, and the
event log must pass the engine's invariants. Prints a line a run and a closing summary.
"""

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
from standardwebhooks import Webhook, WebhookVerificationError

ROOT = Path(__file__).resolve().parents[2]
for folder in ("integration", "adversarial"):
    sys.path.insert(0, str(ROOT / "tests" / folder))

from engine_invariants import check_job  # noqa: E402 - found through the path above
from judge_problem import write_problem  # noqa: E402

from deep_agent.evolution.lineage import Lineage, lineage_path  # noqa: E402
from deep_agent.executor.notify import signing_secret  # noqa: E402
from deep_agent.storage.open import open_storage  # noqa: E402

JOB_TIMEOUT_S = 240.0
BUDGET_S = 45.0
EVALUATIONS = 4


@dataclass
class Receiver:
    """Takes webhooks on loopback and keeps the ids of those whose signature verifies."""

    secret: str = ""
    ids: Counter[str] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)

    def serve(self) -> ThreadingHTTPServer:
        """Start listening on a free port, in a thread of its own."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                try:
                    Webhook(receiver.secret).verify(body, {k.lower(): v for k, v in self.headers.items()})
                    receiver.ids[self.headers["webhook-id"]] += 1
                except WebhookVerificationError as error:
                    receiver.bad.append(str(error))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server


class Server:
    """`deep-agent serve` as a process that can be killed and started again."""

    def __init__(self, home: Path) -> None:
        self.home = home
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it answers."""
        environment = {**os.environ, "DEEP_AGENT_HOME": str(self.home), "DEEP_AGENT_WEBHOOK_ALLOW": "127.0.0.1"}
        with (self.home.parent / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.cli.main", "serve", "--port", str(self.port)],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
            )
        for _ in range(600):
            try:
                if httpx.get(f"{self.url}/healthz", timeout=2).status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.05)
        raise RuntimeError("the server does not answer")

    def kill(self) -> None:
        """End it without a word of warning."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def run_once(server: Server, problem: Path, hook: str, rng: random.Random, kills: int) -> dict[str, object]:
    """Submit one job, kill the server a few times while it runs, wait for the end."""
    goal = {
        "problems": [str(problem)],
        "budget": {"wall_s": BUDGET_S, "evaluations": EVALUATIONS},
        "webhook": hook,
        "seed": rng.randrange(1000),
    }
    key = f"chaos-{rng.randrange(2**62)}"
    submitted = httpx.post(f"{server.url}/v1/jobs", json=goal, headers={"Idempotency-Key": key}, timeout=30)
    submitted.raise_for_status()
    job_id = submitted.json()["id"]
    moments = []
    for _ in range(kills):
        wait_s = rng.uniform(0.0, 12.0)
        time.sleep(wait_s)
        server.kill()
        moments.append(round(wait_s, 1))
        server.start()
    again = httpx.post(f"{server.url}/v1/jobs", json=goal, headers={"Idempotency-Key": key}, timeout=30)
    assert again.json()["id"] == job_id, "the same request made a second job"
    ended = _wait(server, job_id)
    return {"job": job_id, "status": ended["status"], "killed_after_s": moments}


def _wait(server: Server, job_id: str) -> dict[str, object]:
    end_s = time.monotonic() + JOB_TIMEOUT_S
    while time.monotonic() < end_s:
        job = httpx.get(f"{server.url}/v1/jobs/{job_id}", timeout=30).json()
        if job["status"] in {"succeeded", "failed", "cancelled"}:
            return job
        time.sleep(0.3)
    raise AssertionError(f"job {job_id} did not end: {job}")


def check(home: Path, job_id: str, receiver: Receiver) -> dict[str, int]:
    """Hold what is stored against what was promised."""
    storage = open_storage(home)
    try:
        check_job(storage, job_id)
        versions = storage.reads.versions(job_id)
        nodes = [one.node_id for one in versions]
        assert len(nodes) == len(set(nodes)), "a node made two versions"
        seqs = [one.seq for one in versions]
        assert seqs == list(range(len(seqs))), f"versions {seqs}"
        for one in versions:
            lineage = Lineage(lineage_path(home / "lineages", one.search))
            assert lineage.read(one.seq).sha == one.commit_sha, "the lineage lost a version"
        deliveries = storage.deliveries.deliveries(job_id)
        for delivery, _attempts in deliveries:
            assert delivery.state == "delivered", f"{delivery.id} is {delivery.state}"
            assert receiver.ids[delivery.id] >= 1, f"{delivery.id} never arrived"
        assert deliveries, "no webhook at all"
        assert not receiver.bad, receiver.bad
        repeated = sum(receiver.ids[delivery.id] - 1 for delivery, _ in deliveries)
        return {"versions": len(versions), "webhooks": len(deliveries), "repeated_webhooks": repeated}
    finally:
        storage.close()


def chaos(runs: int, seed: int, *, kills: int = 2) -> list[dict[str, object]]:
    """Run the whole thing; raises AssertionError on the first broken promise."""
    rng = random.Random(seed)
    found = []
    with tempfile.TemporaryDirectory(prefix="deep-agent-chaos-") as folder:
        home = Path(folder) / "home"
        home.mkdir()
        receiver = Receiver(secret=signing_secret(home))
        hooks = receiver.serve()
        hook = f"http://127.0.0.1:{hooks.server_port}/hook"
        problem = write_problem(Path(folder) / "problem")
        server = Server(home)
        server.start()
        try:
            for n in range(runs):
                result = run_once(server, problem, hook, rng, 1 + n % kills)
                found.append(result | settled(home, str(result["job"]), receiver))
                print(json.dumps({"run": n + 1, **found[-1]}), flush=True)
        except BaseException:
            print((Path(folder) / "server.log").read_text()[-6000:], file=sys.stderr)
            raise
        finally:
            server.kill()
            hooks.shutdown()
            hooks.server_close()
    return found


def settled(home: Path, job_id: str, receiver: Receiver) -> dict[str, int]:
    """Check, but give a webhook that was being sent when the server died the time of one retry."""
    end_s = time.monotonic() + 90
    while True:
        try:
            return check(home, job_id, receiver)
        except AssertionError:
            if time.monotonic() > end_s:
                raise
            time.sleep(0.5)


def main() -> None:
    """Read the command line and print the summary."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=20)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    found = chaos(given.runs, given.seed)
    total = Counter(str(one["status"]) for one in found)
    kills = sum(len(one["killed_after_s"]) for one in found)  # type: ignore[arg-type]
    print(
        f"{len(found)} runs, {kills} kills: {dict(total)}; {sum(int(str(one['versions'])) for one in found)} versions, "
        f"{sum(int(str(one['webhooks'])) for one in found)} webhooks, "
        f"{sum(int(str(one['repeated_webhooks'])) for one in found)} of them sent twice under their one id"
    )


if __name__ == "__main__":
    main()
