import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from problem_builders import raw_trace, raw_workload
from pydantic import ValidationError

from deep_agent.errors import InvalidInput
from deep_agent.problem.readers import read_traces, write_traces
from deep_agent.problem.trace import Correctness, EvaluationStatus, Trace

NEITHER = set(EvaluationStatus) - {EvaluationStatus.PASSED, EvaluationStatus.INCORRECT_NUMERICAL}


def with_status(status, *parts):
    raw = raw_trace()
    evaluation = raw["evaluation"]
    evaluation["status"] = status
    for part in {"correctness", "performance"} - set(parts):
        del evaluation[part]
    return raw


def test_a_passed_trace_carries_both_parts():
    Trace.model_validate(with_status("PASSED", "correctness", "performance"))
    for parts in ((), ("correctness",), ("performance",)):
        with pytest.raises(ValidationError, match="evaluation"):
            Trace.model_validate(with_status("PASSED", *parts))


def test_incorrect_numerical_carries_correctness_only():
    Trace.model_validate(with_status("INCORRECT_NUMERICAL", "correctness"))
    for parts in ((), ("correctness", "performance")):
        with pytest.raises(ValidationError, match="evaluation"):
            Trace.model_validate(with_status("INCORRECT_NUMERICAL", *parts))


@pytest.mark.parametrize("status", sorted(NEITHER))
def test_every_other_status_carries_neither(status):
    Trace.model_validate(with_status(status))
    with pytest.raises(ValidationError, match="evaluation"):
        Trace.model_validate(with_status(status, "correctness"))


def test_a_workload_alone_is_a_trace():
    trace = Trace.model_validate({"definition": "scale", "workload": raw_workload()})
    assert (trace.solution, trace.evaluation) == (None, None)


@given(st.floats())
def test_errors_that_are_not_finite_are_recorded_as_zero(error):
    if error < 0 and error != float("-inf"):
        return
    recorded = Correctness(max_relative_error=error, max_absolute_error=error).max_relative_error
    assert recorded == (error if 0 <= error < float("inf") else 0.0)


def test_traces_round_trip_through_strict_json_lines(tmp_path):
    path = tmp_path / "traces.jsonl"
    traces = (Trace.model_validate(raw_trace()), Trace.model_validate(with_status("TIMEOUT")))
    write_traces(path, traces)
    assert read_traces(path) == traces
    assert [json.loads(line)["definition"] for line in path.read_text().splitlines()] == ["scale", "scale"]


def test_a_number_json_cannot_say_leaves_no_file(tmp_path):
    raw = raw_trace()
    raw["evaluation"]["correctness"]["extra"] = {"ratio": float("nan")}
    with pytest.raises(InvalidInput, match="trace 1"):
        write_traces(tmp_path / "traces.jsonl", [Trace.model_validate(raw)])
    assert list(tmp_path.iterdir()) == []


def test_trap_12_our_extras_survive_in_correctness_extra_and_stray_keys_do_not(tmp_path, caplog):
    raw = raw_trace(ours="lost")
    raw["evaluation"]["correctness"]["extra"] = {"interval": [1.1, 1.2]}
    path = tmp_path / "traces.jsonl"
    path.write_text(json.dumps(raw))
    with caplog.at_level(logging.WARNING):
        (trace,) = read_traces(path)
    write_traces(path, [trace])
    written = json.loads(path.read_text())
    assert written["evaluation"]["correctness"]["extra"] == {"interval": [1.1, 1.2]}
    assert "ours" not in written
    assert "'ours'" in caplog.text
