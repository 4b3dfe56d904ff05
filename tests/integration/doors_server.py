"""A real server process on the toy application, and a receiver of webhooks, for tests of the doors."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import httpx

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PROBLEM = str(ROOT / "problems" / "rmsnorm")
SOFTMAX = str(ROOT / "problems" / "softmax")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def environment(home: Path, **extra: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("DEEP_AGENT_")}
    return kept | {"DEEP_AGENT_HOME": str(home), "DEEP_AGENT_WEBHOOK_ALLOW": "127.0.0.1"} | extra


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(HERE / "doors_cli.py"), *arguments]


def run_cli(home: Path, *arguments: str, timeout_s: float = 60, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        check=False,
        env=environment(home, **extra),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        cwd=ROOT,
    )


class Server:
    def __init__(self, home: Path, port: int, **extra: str) -> None:
        self.home = home
        self.url = f"http://127.0.0.1:{port}"
        self.started_s = time.monotonic()
        self.log = home.parent / f"{home.name}.log"
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                command("serve", "--port", str(port)), env=environment(home, **extra), cwd=ROOT, stderr=log
            )
        self.client = httpx.Client(base_url=self.url, timeout=20)
        self._await_first_answer()

    def _await_first_answer(self) -> None:
        while time.monotonic() - self.started_s < 30:
            try:
                self.client.get("/healthz").raise_for_status()
            except httpx.TransportError:
                assert self.process.poll() is None, self.log.read_text()
                time.sleep(0.02)
            else:
                self.first_answer_s = time.monotonic() - self.started_s
                return
        raise AssertionError("the server never answered")

    def submit(self, *problems: str, **fields: object) -> str:
        goal = {"problems": problems or (PROBLEM,), "device": "cpu"} | fields
        reply = self.client.post("/v1/jobs", json=goal)
        assert reply.status_code == 202, reply.text
        return reply.json()["id"]

    def await_end(self, job: str, timeout_s: float = 40) -> dict:
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s:
            found = self.client.get(f"/v1/jobs/{job}").json()
            if found["ended_s"] is not None:
                return found
            time.sleep(0.1)
        raise AssertionError(f"{job} did not end: {found}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.client.close()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(15)
        finally:
            self.process.kill()
            self.process.wait()
            self.client.close()


@contextmanager
def serving(home: Path, **extra: str) -> Iterator[Server]:
    server = Server(home, free_port(), **extra)
    try:
        yield server
    finally:
        server.stop()


def messages(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    """Parse server-sent events; comments and retry hints are skipped."""
    fields: dict[str, str] = {}
    for line in lines:
        if not line:
            if "data" in fields:
                yield fields
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value


class Receiver:
    """Takes webhooks; answers with the given statuses in turn, then 204."""

    def __init__(self, *statuses: int) -> None:
        self.seen: list[tuple[dict[str, str], bytes]] = []
        answers = list(statuses)
        seen = self.seen

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                seen.append((dict(self.headers.items()), body))
                self.send_response(answers.pop(0) if answers else 204)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def await_type(self, kind: str, n: int = 1, timeout_s: float = 20) -> None:
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s:
            if [json.loads(body)["type"] for _, body in list(self.seen)].count(kind) >= n:
                return
            time.sleep(0.05)
        raise AssertionError(f"no {kind}: {self.seen}")
