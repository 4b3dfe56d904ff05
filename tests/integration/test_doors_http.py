"""The REST door over a real uvicorn, with the real engine and toy actions."""

import itertools
import json
import time
from collections import Counter
from pathlib import Path

import pytest
from doors_server import PROBLEM, SOFTMAX, Receiver, Server, free_port, messages, run_cli, serving
from standardwebhooks.webhooks import Webhook

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    with serving(tmp_path_factory.mktemp("doors") / "home") as running:
        yield running


def test_the_server_process_holds_no_torch(server: Server) -> None:
    server.await_end(server.submit())
    assert "torch" not in Path(f"/proc/{server.process.pid}/maps").read_text()


def test_a_reader_that_loses_its_connection_misses_and_repeats_nothing(server: Server) -> None:
    job = server.submit(PROBLEM, SOFTMAX)
    seen: list[dict] = []
    headers: dict[str, str] = {}
    for wanted in (3, 7, None):
        with server.client.stream("GET", f"/v1/jobs/{job}/events", headers=headers) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            for message in itertools.islice(messages(stream.iter_lines()), wanted):
                if message.get("event") == "end":
                    break
                seen.append(message)
        headers = {"Last-Event-ID": seen[-1]["id"]}
    numbers = [int(message["id"]) for message in seen]
    assert numbers == list(range(1, server.client.get(f"/v1/jobs/{job}").json()["event_seq"] + 1))
    assert json.loads(seen[-1]["data"])["kind"] == "job.ended"
    assert server.client.get(f"/v1/jobs/{job}/events", headers=headers).status_code == 204


def test_webhooks_tell_of_the_kernel_and_the_end_and_verify(server: Server) -> None:
    secret = (server.home / "webhook.secret").read_text() if (server.home / "webhook.secret").exists() else None
    with Receiver() as receiver:
        job = server.submit(webhook=receiver.url)
        receiver.await_type("job.ended")
        secret = secret or (server.home / "webhook.secret").read_text().strip()
        for headers, body in receiver.seen:
            Webhook(secret).verify(body, {name.lower(): value for name, value in headers.items()})
        ids = [headers["webhook-id"] for headers, _ in receiver.seen]
        assert len(set(ids)) == len(ids) == 2
        assert sorted(json.loads(body)["type"] for _, body in receiver.seen) == ["job.ended", "kernel.verified"]
    # The attempt is recorded after the answer, so the list may lag behind the receiver by a moment.
    time.sleep(0.5)
    delivered = server.client.get("/v1/deliveries", params={"job": job}).json()["items"]
    assert [entry["delivery"]["state"] for entry in delivered] == ["delivered", "delivered"]
    assert all(entry["attempts"][0]["status_code"] == 204 for entry in delivered)


def test_a_failed_delivery_is_tried_again_under_the_same_id(server: Server) -> None:
    with Receiver(500) as receiver:
        server.submit(webhook=receiver.url)
        receiver.await_type("kernel.verified", n=2)
        kernels = [(h, b) for h, b in receiver.seen if json.loads(b)["type"] == "kernel.verified"]
    (first, body), (second, again) = kernels
    assert first["webhook-id"] == second["webhook-id"]
    assert body == again
    assert int(second["webhook-timestamp"]) >= int(first["webhook-timestamp"]) + 4
    assert first["webhook-signature"] != second["webhook-signature"]


def test_a_private_address_that_was_not_opened_is_refused_at_the_door(server: Server) -> None:
    reply = server.client.post("/v1/jobs", json={"problems": [PROBLEM], "webhook": "http://10.0.0.1/x"})
    assert reply.status_code == 422
    assert "DEEP_AGENT_WEBHOOK_ALLOW" in reply.json()["remedy"]


def test_a_repeated_request_with_a_key_is_one_job(server: Server) -> None:
    sent = {"json": {"problems": [PROBLEM]}, "headers": {"Idempotency-Key": "once"}}
    first, second = (server.client.post("/v1/jobs", **sent) for _ in range(2))
    assert first.json()["id"] == second.json()["id"]
    other = server.client.post("/v1/jobs", json={"problems": [SOFTMAX]}, headers={"Idempotency-Key": "once"})
    assert other.status_code == 422
    server.await_end(first.json()["id"])


def test_a_cancelled_job_ends_and_keeps_its_versions(server: Server) -> None:
    job = server.submit()
    while not server.client.get(f"/v1/jobs/{job}/lineage").json()["items"]:
        time.sleep(0.02)
    assert server.client.post(f"/v1/jobs/{job}/cancel").status_code == 202
    ended = server.await_end(job)
    assert ended["status"] == "cancelled"
    assert ended["problems"][0]["versions"] >= 1


def test_a_paused_job_goes_on_where_it_was(server: Server) -> None:
    job = server.submit()
    while not server.client.get(f"/v1/jobs/{job}/lineage").json()["items"]:
        time.sleep(0.02)
    assert server.client.post(f"/v1/jobs/{job}/pause").json()["status"] == "paused"
    assert server.client.post(f"/v1/jobs/{job}/resume").json()["status"] == "running"
    assert server.await_end(job)["status"] == "succeeded"


def test_the_report_of_an_ended_job_is_served(server: Server) -> None:
    job = server.submit()
    server.await_end(job)
    reply = server.client.get(f"/v1/jobs/{job}/report")
    assert reply.status_code == 200
    assert "Toy report" in reply.text


def test_the_command_line_follows_a_job_that_the_server_runs(server: Server) -> None:
    done = run_cli(server.home, "optimize", PROBLEM, "--json")
    assert done.returncode == 0, done.stderr
    assert "another process" in done.stderr
    assert json.loads(done.stdout)["status"] == "succeeded"


def test_an_open_stream_does_not_hold_up_a_stop(tmp_path: Path) -> None:
    with serving(tmp_path / "home", DOORS_STEP_S="2") as server:
        job = server.submit()
        with server.client.stream("GET", f"/v1/jobs/{job}/events") as stream:
            next(messages(stream.iter_lines()))
            asked_s = time.monotonic()
            server.process.terminate()
            server.process.wait(10)
            assert time.monotonic() - asked_s < 8


def test_a_port_in_use_ends_with_code_2_and_names_the_port(server: Server, tmp_path: Path) -> None:
    port = server.url.rpartition(":")[2]
    done = run_cli(tmp_path / "other", "serve", "--port", port)
    assert done.returncode == 2
    assert f"port {port}" in done.stderr
    assert f"--port {int(port) + 1}" in done.stderr
    assert not (tmp_path / "other").exists()


def test_a_server_killed_at_any_moment_loses_and_doubles_nothing(tmp_path: Path) -> None:
    home, port = tmp_path / "home", free_port()
    with Receiver() as receiver:
        server = Server(home, port, DOORS_STEP_S="0.1")
        job = server.submit(PROBLEM, SOFTMAX, webhook=receiver.url)
        for pause_s in (0.35, 0.8, 1.3):
            time.sleep(pause_s)
            server.kill()
            server = Server(home, port, DOORS_STEP_S="0.1")
        try:
            ended = server.await_end(job)
            receiver.await_type("job.ended")
            versions = server.client.get(f"/v1/jobs/{job}/lineage").json()["items"]
            events = messages(iter(server.client.get(f"/v1/jobs/{job}/events").text.split("\n")))
            numbers = [int(event["id"]) for event in events if "id" in event]
        finally:
            server.stop()
    assert ended["status"] == "succeeded"
    assert numbers == list(range(1, ended["event_seq"] + 1))
    assert sorted((v["search"], v["seq"]) for v in versions) == sorted({(v["search"], v["seq"]) for v in versions})
    assert Counter(v["search"] for v in versions).most_common(1)[0][1] == 12
    # A kill between the receiver's answer and its record repeats an id; the receiver drops what it has seen.
    bodies = {headers["webhook-id"]: body for headers, body in receiver.seen}
    assert sorted(json.loads(body)["type"] for body in bodies.values()) == ["job.ended"] + ["kernel.verified"] * 2
