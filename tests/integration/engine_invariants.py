"""One checker over a job's event log and rows, for every test that hurts the engine."""

from collections import defaultdict
from dataclasses import dataclass, field

import sqlalchemy as sa

from deep_agent.htdag.job import Event
from deep_agent.storage.database import Database
from deep_agent.storage.open import Storage

TERMINAL = {"done", "failed", "rescinded", "superseded"}


@dataclass
class Replayed:
    """The graph as the events alone tell it."""

    states: dict[str, str] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    params: dict[str, object] = field(default_factory=dict)
    edges: dict[tuple[str, str], str] = field(default_factory=dict)

    def predecessors(self, node_id: str) -> list[str]:
        return [src for src, dst in self.edges if dst == node_id]


def check_events(events: list[Event]) -> Replayed:
    """Replay a whole log, checking each step; gives the graph it ends in."""
    graph = Replayed()
    cancelled = False
    ended = 0
    assert [event.seq for event in events] == list(range(1, len(events) + 1)), "event numbers have gaps"
    for event in events:
        subject, _, verb = event.kind.partition(".")
        cancelled = cancelled or event.kind == "job.cancel_requested"
        ended += event.kind == "job.ended"
        if event.kind == "node.added":
            _added(graph, event)
        elif subject == "edge":
            _edge(graph, event, verb)
        elif event.kind == "node.changed":
            assert graph.states[str(event.node_id)] not in TERMINAL
            graph.params[str(event.node_id)] = event.payload["params"]
        elif subject == "node":
            _moved(graph, event, verb, cancelled=cancelled)
    assert ended <= 1, "the job ended more than once"
    return graph


def _added(graph: Replayed, event: Event) -> None:
    node_id, owner = str(event.node_id), str(event.payload["owner"])
    assert node_id not in graph.states, f"{node_id} was added twice"
    graph.states[node_id] = "pending"
    graph.attempts[node_id] = 0
    graph.kinds[node_id] = str(event.payload["kind"])
    graph.params[node_id] = event.payload["params"]
    for src in event.payload["after"]:
        graph.edges[(f"{owner}.{src}", node_id)] = "data"


def _edge(graph: Replayed, event: Event, verb: str) -> None:
    owner = event.payload["owner"]
    pair = (f"{owner}.{event.payload['src']}", f"{owner}.{event.payload['dst']}")
    if verb == "added":
        graph.edges[pair] = str(event.payload["kind"])
    else:
        del graph.edges[pair]


def _moved(graph: Replayed, event: Event, state: str, *, cancelled: bool) -> None:
    node_id, attempt = str(event.node_id), event.attempt or 0
    before = graph.states[node_id]
    assert before not in TERMINAL, f"{node_id} is {before} and became {state}"
    if state in {"dispatched", "expanding"}:
        assert attempt > graph.attempts[node_id], f"{node_id}: attempt {attempt} does not grow"
    else:
        assert attempt == graph.attempts[node_id], f"{node_id}: {state} on attempt {attempt}"
    if state == "running":
        waited = {src: graph.states[src] for src in graph.predecessors(node_id)}
        assert set(waited.values()) <= {"done"}, f"{node_id} started before {waited}"
        assert not (cancelled and graph.kinds[node_id] == "atomic"), f"{node_id} started after the cancel"
    if state in {"done", "failed"}:
        assert before == "running", f"{node_id} was {before} and became {state}"
    graph.states[node_id] = state
    graph.attempts[node_id] = attempt


def all_events(storage: Storage, job_id: str) -> list[Event]:
    events: list[Event] = []
    while page := storage.reads.events(job_id, after=len(events), limit=1000):
        events.extend(page)
    return events


def check_job(storage: Storage, job_id: str) -> Replayed:
    """Check log and rows of a job, ended or not."""
    graph_view = storage.reads.graph(job_id)
    events = [event for event in all_events(storage, job_id) if event.seq <= graph_view.event_seq]
    graph = check_events(events)
    assert {node.id: node.state.value for node in graph_view.nodes} == graph.states, "rows and log differ in states"
    assert {node.id: node.attempt for node in graph_view.nodes} == graph.attempts, "rows and log differ in attempts"
    assert {node.id: node.params for node in graph_view.nodes} == graph.params
    assert {(edge.src, edge.dst): edge.kind for edge in graph_view.edges} == graph.edges
    done = {node.id for node in graph_view.nodes if node.state == "done"}
    seen = defaultdict(set)
    for version in storage.reads.versions(job_id):
        assert version.node_id in done, f"version {version.seq} comes from {version.node_id}, which is not done"
        assert version.seq not in seen[version.search]
        seen[version.search].add(version.seq)
    return graph


def left_over(database: Database, job_id: str) -> dict[str, int]:
    """Count what a job that has ended should not leave: waiting hints, unsent webhooks, leases."""
    queries = {
        "hints": "SELECT count(*) FROM outbox WHERE kind = 'hint' AND job_id = :job",
        "webhooks": "SELECT count(*) FROM outbox WHERE kind = 'webhook' AND sent_s IS NULL AND job_id = :job",
        "leases": "SELECT count(*) FROM lease JOIN node ON node.id = lease.node_id WHERE node.job_id = :job",
        "open": "SELECT count(*) FROM node WHERE ended_s IS NULL AND job_id = :job",
    }
    with database.reading() as connection:
        counts = {
            name: connection.execute(sa.text(query), {"job": job_id}).scalar_one() for name, query in queries.items()
        }
    return {name: count for name, count in counts.items() if count}
