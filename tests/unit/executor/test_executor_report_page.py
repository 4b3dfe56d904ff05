"""What the report page must say, and what it must never let through."""

from xml.etree import ElementTree

import pytest
from builders import make_evaluation, make_python_solution, make_ratio, make_solution, make_workload_evaluation
from executor_report_builders import make_problem_content, make_report_content, make_steps
from hypothesis import given
from hypothesis import strategies as st

from deep_agent.executor.report import figures, svg
from deep_agent.executor.report.content import SearchStep
from deep_agent.executor.report.render import render
from deep_agent.executor.report.source import difference, failure_groups, listing
from deep_agent.executor.report.trajectory import trajectory

positive = st.floats(min_value=1e-6, max_value=1e15)


def test_the_page_needs_nothing_from_elsewhere():
    page = render(make_report_content())
    assert "<script" not in page
    assert "<link" not in page
    assert "http://" not in page
    assert "https://" not in page
    assert "default-src 'none'" in page


def test_the_headline_names_the_baseline_and_the_interval():
    page = render(make_report_content())
    assert "1.50\N{MULTIPLICATION SIGN}" in page
    assert "95 % interval 1.455 to 1.545" in page
    assert "against <code>eager_out</code>" in page
    assert "no network namespace on this machine" in page


@pytest.mark.parametrize("where", ["message", "source", "job", "note"])
def test_hostile_text_stays_text(where):
    evil = "</pre><script>alert(1)</script>"
    content = {
        "message": make_report_content(make_problem_content(verification=make_evaluation(message=evil))),
        "source": make_report_content(make_problem_content(answer=make_solution(evil))),
        "job": make_report_content(job=evil),
        "note": make_report_content(
            make_problem_content(steps=(SearchStep(number=1, outcome="improve", speedup=1.2, note=evil),))
        ),
    }[where]
    page = render(content)
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_an_honest_ending_names_the_library_call():
    page = render(
        make_report_content(make_problem_content(ending="no_faster", answer=make_python_solution(), ending_reason=""))
    )
    assert "No faster kernel was found." in page
    assert "torch.mul(x, 2, out=y)" in page
    assert "What changed since the first version" not in page


def test_a_problem_that_broke_early_still_has_a_page():
    page = render(
        make_report_content(
            make_problem_content(
                ending="failed",
                ending_reason="The reference raises at w1.",
                problem=None,
                characterization=None,
                bounds=(),
                verification=None,
                answer=None,
                first=None,
                steps=(),
            ),
            device=None,
        )
    )
    assert "This problem could not be worked on." in page
    assert "The reference raises at w1." in page


def test_hidden_shapes_follow_the_listed_ones():
    found = make_evaluation(make_workload_evaluation(), make_workload_evaluation("hidden-1"))
    page = render(make_report_content(make_problem_content(verification=found)))
    assert page.index("rows 8") < page.index("hidden-1")


def test_failures_are_grouped_by_status_and_first_line():
    groups = failure_groups(make_steps())
    assert [(group.status, group.attempts) for group in groups] == [
        ("COMPILE_ERROR", (2, 4)),
        ("INCORRECT_NUMERICAL", (5,)),
    ]


def test_the_difference_shows_what_changed_and_equal_solutions_differ_in_nothing():
    first = make_solution("int a;\nint b;\n")
    last = make_solution("int a;\nint c;\n")
    kinds = [(line.kind, line.text, line.number) for line in difference(first, last)]
    assert ("removed", "int b;", None) in kinds
    assert ("added", "int c;", 2) in kinds
    assert difference(first, first) == ()


def test_a_listing_numbers_every_line():
    numbers = [line.number for line in listing(make_solution("a\n\nb\n"))]
    assert numbers == [None, 1, 2, 3]


def test_plots_are_well_formed_even_with_hostile_words():
    drawn = trajectory((SearchStep(number=1, outcome="improve", speedup=1.2, note='"<&>'), *make_steps()[1:]))
    assert drawn is not None
    ElementTree.fromstring(str(drawn))


def test_a_search_without_times_has_no_trajectory():
    assert trajectory((SearchStep(number=1, outcome="failed", status="COMPILE_ERROR"),)) is None


@given(low=positive, factor=st.floats(min_value=1.5, max_value=1e6), value=positive, logarithmic=st.booleans())
def test_every_pixel_and_every_tick_stays_inside_the_axis(low, factor, value, logarithmic):
    scale = svg.horizontal(low, low * factor, logarithmic=logarithmic)
    assert svg.LEFT <= scale.at(value) <= svg.RIGHT
    ticks = scale.ticks()
    assert len(ticks) <= 24
    assert all(low * (1 - 1e-6) <= tick <= low * factor * (1 + 1e-6) for tick in ticks)


@given(value=st.floats(min_value=1e-9, max_value=1e12))
def test_three_digits_keep_a_number_within_half_a_percent(value):
    assert float(figures.significant(value)) == pytest.approx(value, rel=5.1e-3)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (figures.time(0.85), "850 ns"),
        (figures.time(12.34), "12.3 µs"),
        (figures.time(4560), "4.56 ms"),
        (figures.time(1.2e6), "1.20 s"),
        (figures.quantity(2.1e10, "B/s"), "21.0 GB/s"),
        (figures.tiny(0), "0"),
        (figures.interval(make_ratio(2.0, 0.1)), "1.800 to 2.200"),
    ],
)
def test_numbers_are_written_with_fitting_units(written, expected):
    assert written == expected
