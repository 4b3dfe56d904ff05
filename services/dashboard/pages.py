"""Owns how the pages are rendered from views; knows neither requests nor where views come from.

Names, notes and sources are hostile text: every template escapes, and nothing is marked safe.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

import jinja2

from deep_agent.htdag.job import Event, GraphView, NodeView, VersionView
from deep_agent.htdag.node import NodeKind, NodeState
from deep_agent.problem.value import FrozenValue
from services.dashboard import words
from services.dashboard.curves import curves
from services.dashboard.picture import draw, label_of, outline
from services.views import JobView, problem_name

HERE = Path(__file__).parent
STATIC = HERE / "static"
UNSAID = frozenset({"owner", "kind", "handler", "lane", "name", "title", "replaces", "seq"})
"""Parts of an event that the picture says already."""


class EventLine(FrozenValue):
    """One event in words."""

    seq: int
    at_s: float
    text: str


@functools.cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("tone", "word", "elide", "duration", "device_time", "ratio", "moment", "clock"):
        environment.filters[name] = getattr(words, name)
    environment.filters["label"] = label_of
    return environment


def render_jobs(jobs: Sequence[JobView], *, next_cursor: str | None, now_s: float) -> str:
    """Render one page of the list of jobs; `next_cursor` leads to older ones."""
    return (
        _templates()
        .get_template("jobs.html")
        .render(jobs=jobs, next=next_cursor, elapsed=lambda job: elapsed_s(job, now_s))
    )


def render_job(
    job: JobView,
    graph: GraphView,
    *,
    events: Sequence[Event],
    versions: Sequence[VersionView],
    now_s: float,
) -> str:
    """Render one job: results, picture, table of nodes, newest events first, trajectory."""
    names = {
        str(node.id): problem_name(str(node.params.get("problem", node.name)))
        for node in graph.nodes
        if node.handler == "optimize"
    }
    labels = {str(node.id): _told(node, names) for node in graph.nodes}
    notes = {str(node.id): str((node.outputs or {}).get("note", "")) for node in graph.nodes}
    return (
        _templates()
        .get_template("job.html")
        .render(
            job=job,
            graph=graph,
            drawing=draw(graph),
            lines=outline(graph),
            events=[_line(event, labels) for event in reversed(events)],
            curves=curves(versions, names, notes),
            summary=summarize(job, graph),
            elapsed=lambda shown: elapsed_s(shown, now_s),
            took=lambda node: _took_s(node, now_s),
        )
    )


def render_missing(message: str) -> str:
    """Render the page of an address that leads nowhere."""
    return _templates().get_template("missing.html").render(message=message)


def elapsed_s(job: JobView, now_s: float) -> float:
    """Wall seconds from acceptance to the end, or to now."""
    return max(0.0, (job.ended_s or now_s) - job.created_s)


def _took_s(node: NodeView, now_s: float) -> float | None:
    return None if node.started_s is None else max(0.0, (node.ended_s or now_s) - node.started_s)


def summarize(job: JobView, graph: GraphView) -> str:
    """Say in one sentence where the job stands; read aloud when it changes."""
    done = sum(node.state is NodeState.DONE for node in graph.nodes)
    running = [
        label_of(node) for node in graph.nodes if node.state is NodeState.RUNNING and node.kind is NodeKind.ATOMIC
    ]
    answered = sum(result.verdict in {"verified", "library"} for result in job.problems)
    parts = [
        f"{answered} of {len(job.problems)} problem{'s' if len(job.problems) != 1 else ''} answered",
        f"{done} of {len(graph.nodes)} nodes done",
    ]
    if running and not job.is_over:
        shown = ", ".join(words.elide(label, 30) for label in running[:3])
        parts.append(f"running: {shown}" + (f" and {len(running) - 3} more" if len(running) > 3 else ""))
    return " · ".join(parts)


def _told(node: NodeView, names: dict[str, str]) -> str:
    """Name a node where its place is not seen; with several problems, whose it is."""
    branch = next((name for root, name in names.items() if node.id.startswith(f"{root}.")), None)
    return f"{branch}: {label_of(node)}" if branch is not None and len(names) > 1 else label_of(node)


def _line(event: Event, labels: dict[str, str]) -> EventLine:
    said = [labels.get(event.node_id, event.node_id)] if event.node_id else []
    said.append(event.kind.replace(".", " ").replace("_", " "))
    said += [
        f"{name.replace('_', ' ')} {value:.4g}" if isinstance(value, float) else f"{name.replace('_', ' ')} {value}"
        for name, value in event.payload.items()
        if name not in UNSAID and isinstance(value, str | int | float) and value != ""
    ]
    return EventLine(seq=event.seq, at_s=event.at_s, text=" · ".join(said))
