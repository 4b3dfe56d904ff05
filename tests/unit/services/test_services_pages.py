import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from services_builders import (
    JOB,
    T0,
    make_branch,
    make_edge,
    make_events,
    make_graph,
    make_node,
    make_versions,
    make_view,
)

from deep_agent.htdag.job import GraphView
from services.dashboard import words
from services.dashboard.curves import curves
from services.dashboard.pages import STATIC, render_job, render_jobs
from services.dashboard.picture import draw, label_of, outline


@given(st.text(max_size=60), st.integers(0, 40))
def test_an_elided_text_keeps_its_ends_and_fits(text: str, longest: int) -> None:
    short = words.elide(text, longest)
    assert len(short) <= max(longest, 3)
    if short != text:
        assert "…" in short
        assert short[0] == text[0]
        assert short[-1] == text[-1]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, words.ABSENT),
        (0.0123, "12 ms"),
        (1, "1.0 s"),
        (59.94, "59.9 s"),
        (61, "1 m 01 s"),
        (3600, "1 h 00 m"),
        (-1, "0 ms"),
    ],
)
def test_a_duration_reads_at_its_scale(seconds, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(("time_us", "text"), [(None, words.ABSENT), (0.5, "0.5 µs"), (999.6, "1 ms"), (2.5e7, "25 s")])
def test_a_device_time_reads_at_its_scale(time_us, text: str) -> None:
    assert words.device_time(time_us) == text


def test_every_state_has_a_word_and_a_tone_of_its_kind() -> None:
    from deep_agent.htdag.node import NodeState

    for state in NodeState:
        assert words.word(state)
        assert words.tone(state) in {"idle", "soon", "live", "good", "bad", "held", "gone"}
    assert words.tone("failed") == "bad"
    assert words.tone("something new") == "idle"


def test_the_picture_and_the_table_show_the_same_nodes_in_the_same_states() -> None:
    graph = make_graph(("/p/rmsnorm", "/p/softmax"))
    drawn = {shape.node.id: (shape.node.state, shape.word) for shape in draw(graph).shapes}
    listed = {line.node.id: (line.node.state, line.word) for line in outline(graph)}
    assert drawn == listed
    assert len(drawn) == len(graph.nodes)


def test_the_table_puts_children_below_their_parent() -> None:
    lines = outline(make_graph())
    depth = {line.node.id: line.depth for line in lines}
    assert lines[0].node.name == "goal"
    for line in lines[1:]:
        assert line.depth == depth[line.node.owner] + 1


def test_an_edge_that_a_longer_path_implies_is_not_drawn() -> None:
    nodes, edges = make_branch(1, "/p/a", n_vary=1)
    root = f"{JOB}.goal.optimize-1"
    more = [make_edge(f"{root}.characterize", f"{root}.verify"), make_edge(f"{root}.characterize", f"{root}.package")]
    graph = GraphView.model_validate({"job_id": JOB, "event_seq": 1, "nodes": nodes, "edges": [*edges, *more]})
    assert len(draw(graph).arrows) == len(edges)


def test_nodes_are_named_for_people() -> None:
    assert label_of(make_node("j.goal.evolve.vary-0012", title="vary-0012")) == "vary 12"
    assert label_of(make_node("j.goal.optimize-1", params={"problem": "/x/rmsnorm"})) == "rmsnorm"
    assert label_of(make_node("j.goal.report", title="report")) == "report"


def test_the_trajectory_is_a_staircase_of_timed_versions() -> None:
    (curve,) = curves(make_versions(), {f"{JOB}.goal.optimize-1": "rmsnorm"}, {})
    assert curve.problem == "rmsnorm"
    assert [step.version.seq for step in curve.steps] == [0, 1, 2, 3]
    assert curve.best == 1.84
    heights = [step.y for step in curve.steps]
    assert heights == sorted(heights, reverse=True)
    assert curve.steps[0].y > curve.one_y > curve.steps[1].y


def test_no_page_holds_text_past_the_policy_or_from_elsewhere() -> None:
    page = render_job(make_view(), make_graph(), events=make_events(), versions=make_versions(), now_s=T0 + 44)
    listing = render_jobs([make_view()], next_cursor="a&b", now_s=T0 + 44)
    for text in (page, listing):
        assert not re.search(r"<script(?![^>]*\bsrc=\"/static/)", text)
        assert " style=" not in text
        assert not re.search(r"(?:src|href)=\"(?:https?:)?//", text)
    assert "/?cursor=a%26b" in listing
    assert "|safe" not in "".join(path.read_text() for path in STATIC.parent.glob("templates/*"))


def test_an_empty_list_says_how_to_begin() -> None:
    assert "deep-agent optimize" in render_jobs([], next_cursor=None, now_s=T0)


def test_a_thousand_nodes_are_rendered_in_one_page() -> None:
    graph = make_graph([f"/p/p{i}" for i in range(20)], n_vary=50)
    view = make_view([f"/p/p{i}" for i in range(20)])
    page = render_job(view, graph, events=(), versions=(), now_s=T0 + 44)
    assert page.count('data-node-id="') == 2 * len(graph.nodes)
