import json
from pathlib import Path

import pytest
from builders import make_solution
from fastapi.testclient import TestClient
from services_twin import TwinApplication

from deep_agent.errors import HarnessFailed, MissingTool, ResourceExhausted
from services.api.app import create
from services.api.guard import LONGEST_BODY_BYTES, Access

GOAL = {"problems": ["/p/rmsnorm"], "device": "cpu"}
LOOPBACK = Access.of(api_key=None, loopback=True, allowed_hosts=())


@pytest.fixture
def twin() -> TwinApplication:
    return TwinApplication()


@pytest.fixture
def api(twin):
    app = create(lambda: twin, access=LOOPBACK)
    with TestClient(app, base_url="http://127.0.0.1:8421", raise_server_exceptions=False) as client:
        yield client


def submit(api, **headers: str) -> str:
    reply = api.post("/v1/jobs", json=GOAL, headers=headers)
    assert reply.status_code == 202, reply.text
    return reply.json()["id"]


def assert_problem(reply, status: int) -> dict:
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    body = reply.json()
    assert body["status"] == status
    assert body["type"].startswith("/problems/")
    assert body["title"]
    assert body["detail"]
    return body


def test_submitting_answers_202_with_where_to_look_and_when(api) -> None:
    reply = api.post("/v1/jobs", json=GOAL)
    assert reply.status_code == 202
    assert reply.headers["location"] == f"/v1/jobs/{reply.json()['id']}"
    assert int(reply.headers["retry-after"]) >= 1
    assert reply.json()["status"] == "running"


def test_the_same_key_and_body_is_the_same_job(api) -> None:
    assert submit(api, **{"Idempotency-Key": "k1"}) == submit(api, **{"Idempotency-Key": "k1"})
    assert submit(api) != submit(api)


def test_the_same_key_with_another_body_is_refused(api) -> None:
    submit(api, **{"Idempotency-Key": "k1"})
    reply = api.post("/v1/jobs", json=GOAL | {"seed": 7}, headers={"Idempotency-Key": "k1"})
    assert_problem(reply, 422)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"problems": []}, "#/problems"),
        ({"problems": ["/p/a"], "budget": {"wall_s": -1}}, "#/budget/wall_s"),
        ({"problems": ["/p/a"], "colour": "red"}, "#/colour"),
        ({"problems": ["/p/a"], "operator": "magic"}, "#/operator"),
        ({}, "#/problems"),
    ],
)
def test_a_goal_that_does_not_parse_points_to_the_field(api, twin, body: dict, pointer: str) -> None:
    problem = assert_problem(api.post("/v1/jobs", json=body), 422)
    assert pointer in [error["pointer"] for error in problem["errors"]]
    assert not twin.jobs_by_id


def test_a_body_that_is_no_json_is_a_problem_document(api) -> None:
    problem = assert_problem(api.post("/v1/jobs", content=b"{nope", headers={"content-type": "application/json"}), 422)
    assert problem["errors"][0]["pointer"] == "#"


def test_an_unknown_address_method_or_job_is_a_problem_document(api) -> None:
    assert_problem(api.get("/v1/nothing"), 404)
    assert_problem(api.delete("/v1/jobs"), 405)
    assert_problem(api.get("/v1/jobs/none"), 404)
    assert_problem(api.get("/v1/jobs/none/graph"), 404)
    assert_problem(api.get("/v1/jobs/none/events"), 404)
    assert_problem(api.get("/v1/jobs?limit=1000"), 422)
    assert_problem(api.get("/v1/jobs?cursor=garbage"), 422)
    assert_problem(api.get("/v1/candidates/xyz"), 422)
    assert_problem(api.get("/static/none.css"), 404)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MissingTool("g++ is missing.", remedy="apt install g++"), 503),
        (ResourceExhausted("the disk is full."), 507),
        (HarnessFailed("the judge broke."), 500),
        (RuntimeError("secret detail"), 500),
    ],
)
def test_every_error_class_has_a_status_and_hides_what_is_internal(api, twin, error, status: int) -> None:
    twin.broken = error
    problem = assert_problem(api.get("/v1/jobs/any"), status)
    assert "secret" not in problem["detail"]
    assert problem["remedy"] == getattr(error, "remedy", "")


def test_the_list_pages_by_an_opaque_cursor_with_a_link(api) -> None:
    ids = [submit(api) for _ in range(5)]
    reply = api.get("/v1/jobs?limit=2")
    found = [job["id"] for job in reply.json()["items"]]
    while reply.json()["next"] is not None:
        assert reply.headers["link"].endswith('; rel="next"')
        reply = api.get(reply.headers["link"].partition(">")[0].lstrip("<"))
        found += [job["id"] for job in reply.json()["items"]]
    assert found == ids[::-1]
    assert "link" not in reply.headers


def test_a_current_entity_tag_gives_304_and_a_change_a_new_one(api, twin) -> None:
    job = submit(api)
    tag = api.get(f"/v1/jobs/{job}").headers["etag"]
    assert api.get(f"/v1/jobs/{job}", headers={"If-None-Match": tag}).status_code == 304
    twin.happen(job, "search.step")
    assert api.get(f"/v1/jobs/{job}", headers={"If-None-Match": tag}).status_code == 200


def test_a_job_shows_the_state_of_each_problem(api, twin) -> None:
    job = submit(api)
    running = api.get(f"/v1/jobs/{job}").json()["problems"][0]
    assert running["verdict"] == "unfinished"
    assert running["baseline"] == {"name": "torch_compile", "time_us": 812.0}
    assert running["best"]["speedup"] == 1.84
    twin.finish(job)
    ended = api.get(f"/v1/jobs/{job}").json()["problems"][0]
    assert (ended["verdict"], ended["best"]["solution"]) == ("verified", "a" * 64)


def test_cancel_is_idempotent_and_resume_of_an_ended_job_conflicts(api) -> None:
    job = submit(api)
    assert [api.post(f"/v1/jobs/{job}/cancel").status_code for _ in range(2)] == [202, 202]
    problem = assert_problem(api.post(f"/v1/jobs/{job}/resume"), 409)
    assert problem["remedy"]


def messages(text: str) -> list[dict[str, str]]:
    blocks = [block for block in text.split("\n\n") if block and not block.startswith((":", "retry"))]
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]


def test_the_stream_of_an_ended_job_replays_everything_and_ends(api, twin) -> None:
    job = submit(api)
    twin.finish(job)
    *sent, last = messages(api.get(f"/v1/jobs/{job}/events").text)
    assert [int(message["id"]) for message in sent] == list(range(1, twin.job(job).event_seq + 1))
    assert json.loads(sent[0]["data"])["kind"] == "job.accepted"
    assert (last["event"], json.loads(last["data"])) == ("end", {"status": "succeeded"})


def test_the_stream_goes_on_after_the_last_event_seen(api, twin) -> None:
    job = submit(api)
    twin.finish(job)
    end = twin.job(job).event_seq
    by_header = messages(api.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": "3"}).text)
    by_query = messages(api.get(f"/v1/jobs/{job}/events?after=3").text)
    assert by_header == by_query
    assert [int(message["id"]) for message in by_header[:-1]] == list(range(4, end + 1))
    assert api.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": str(end)}).status_code == 204


def test_the_report_is_a_sandboxed_page_of_its_own(api) -> None:
    job = submit(api)
    assert_problem(api.get(f"/v1/jobs/{job}/report"), 404)
    api.post(f"/v1/jobs/{job}/cancel")
    reply = api.get(f"/v1/jobs/{job}/report")
    assert reply.headers["content-type"].startswith("text/html")
    assert "sandbox" in reply.headers["content-security-policy"]


def test_the_catalogue_answers(api) -> None:
    solution = make_solution()
    assert api.get(f"/v1/candidates/{solution.content_hash}").json()["name"] == solution.name
    assert_problem(api.get(f"/v1/candidates/{'0' * 64}"), 404)
    assert api.get("/v1/problems").json()["items"][0]["name"] == "double"
    assert api.get("/v1/devices").json()["items"][0]["name"] == "cpu"
    assert api.get("/v1/deliveries").json() == {"items": []}
    assert_problem(api.get("/v1/deliveries?job=none"), 404)


def test_health_says_what_works(api, twin) -> None:
    assert api.get("/healthz").json() == {"status": "ok"}
    assert api.get("/livez").status_code == 200
    api.get("/v1/jobs")
    assert api.get("/readyz").json() == {"status": "ok", "database": True, "dispatcher": True}
    twin.broken = ResourceExhausted("the database stays locked.")
    assert api.get("/readyz").status_code == 503


def test_the_lanes_start_and_stop_with_the_server(twin) -> None:
    with TestClient(create(lambda: twin, access=LOOPBACK), base_url="http://localhost") as api:
        assert api.get("/v1/jobs").status_code == 200
        assert twin.calls == ["start"]
    assert twin.calls == ["start", "stop"]


def test_the_port_answers_while_the_application_opens(twin) -> None:
    import threading

    go = threading.Event()

    def build() -> TwinApplication:
        go.wait(10)
        return twin

    with TestClient(create(build, access=LOOPBACK), base_url="http://localhost") as api:
        assert api.get("/healthz").status_code == 200
        reply = api.get("/readyz")
        assert (reply.status_code, reply.json()["status"]) == (503, "starting")
        go.set()
        assert api.get("/v1/jobs").status_code == 200


def test_an_application_that_cannot_open_is_told_and_asks_for_the_end() -> None:
    asked: list[str] = []

    def build() -> TwinApplication:
        raise ResourceExhausted("the disk is full.", remedy="Free space.")

    app = create(build, access=LOOPBACK)
    app.state.on_failure = lambda: asked.append("end")
    with TestClient(app, base_url="http://localhost") as api:
        assert_problem(api.get("/v1/jobs"), 507)
    assert asked == ["end"]
    assert app.state.failure.message == "the disk is full."


def test_a_body_over_the_cap_is_refused_announced_or_not(api) -> None:
    assert_problem(api.post("/v1/jobs", content=b"x" * (LONGEST_BODY_BYTES + 1)), 413)
    chunks = (b"x" * 65536 for _ in range(LONGEST_BODY_BYTES // 65536 + 1))
    assert_problem(api.post("/v1/jobs", content=chunks, headers={"content-type": "application/json"}), 413)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[::2]", "localhost.evil"])
def test_a_foreign_host_name_is_refused_on_loopback(api, host: str) -> None:
    assert_problem(api.get("/v1/jobs", headers={"Host": host}), 421)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9", "[::1]:8421", "LOCALHOST:8421"])
def test_a_loopback_name_is_answered_at_any_port(api, host: str) -> None:
    assert api.get("/v1/jobs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://127.0.0.1:9999"},
    ],
)
def test_another_sites_page_cannot_change_anything(api, headers: dict[str, str]) -> None:
    job = submit(api)
    assert_problem(api.post(f"/v1/jobs/{job}/cancel", headers=headers), 403)
    assert api.get("/v1/jobs", headers=headers).status_code == 200


def keyed(**fields) -> TestClient:
    access = Access.of(**({"api_key": "k" * 20, "loopback": False, "allowed_hosts": ()} | fields))
    return TestClient(create(TwinApplication, access=access), base_url="http://any.example")


def test_a_key_is_asked_where_one_is_set_and_health_stays_open() -> None:
    with keyed() as api:
        reply = api.get("/v1/jobs")
        assert_problem(reply, 401)
        assert "Bearer" in reply.headers["www-authenticate"]
        assert_problem(api.get("/"), 401)
        assert api.get("/healthz").status_code == 200
        assert_problem(api.get("/v1/jobs", headers={"Authorization": "Bearer " + "x" * 20}), 401)
        assert_problem(api.get("/v1/jobs", headers={"Authorization": "Basic !!!"}), 401)
        assert api.get("/v1/jobs", headers={"Authorization": "Bearer " + "k" * 20}).status_code == 200
        assert api.get("/", auth=("anyone", "k" * 20)).status_code == 200


def test_the_pages_show_jobs_and_their_graph_with_the_same_states_twice(api, twin) -> None:
    job = submit(api)
    listing = api.get("/")
    assert f'data-job-id="{job}"' in listing.text
    page = api.get(f"/jobs/{job}").text
    for node in twin.graph(job).nodes:
        assert page.count(f'data-node-id="{node.id}" data-state="{node.state}"') == 2
    assert api.get("/jobs/none").status_code == 404


def test_a_page_carries_a_strict_policy_and_no_inline_script_or_style(api) -> None:
    job = submit(api)
    reply = api.get(f"/jobs/{job}")
    policy = reply.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert " style=" not in reply.text
    assert "onclick" not in reply.text
    assert reply.headers["x-content-type-options"] == "nosniff"


def test_hostile_names_are_escaped(api, twin) -> None:
    job = submit(api)
    from services_builders import make_node

    evil = "<script>alert(1)</script>"
    twin.set_node(job, make_node(f"{job}.goal.evil", "failed", title=evil, reason=evil))
    page = api.get(f"/jobs/{job}").text
    assert evil not in page
    assert "&lt;script&gt;" in page


def test_the_buttons_work_without_scripts(api, twin) -> None:
    job = submit(api)
    reply = api.post(f"/jobs/{job}/cancel", follow_redirects=False)
    assert (reply.status_code, reply.headers["location"]) == (303, f"/jobs/{job}")
    assert twin.job(job).status == "cancelled"
    assert api.post(f"/jobs/{job}/resume", follow_redirects=False).status_code == 303


def test_the_committed_schema_is_current(api) -> None:
    committed = Path(__file__).parents[3] / "docs" / "openapi.json"
    assert json.loads(committed.read_text()) == api.get("/openapi.json").json(), (
        "the API changed: run `.venv/bin/python -m services.api.schema > docs/openapi.json`"
    )


def test_every_operation_has_an_id_of_its_own_and_says_how_it_fails(api) -> None:
    schema = api.get("/openapi.json").json()
    operations = [operation for path in schema["paths"].values() for operation in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    assert all("_" not in name for name in names)
    for operation in operations:
        if "health" not in operation["tags"]:
            assert "application/problem+json" in operation["responses"]["4XX"]["content"]
