import json
import logging

import pytest
from problem_builders import REFERENCE, raw_definition, raw_solution, raw_workload, write_problem

from deep_agent.errors import InvalidInput
from deep_agent.problem.readers import (
    ReadProblem,
    RefusedProblem,
    iterate_problems,
    read_definition,
    read_problem,
    read_solution,
    read_workloads,
)
from deep_agent.problem.workload import ToleranceSpec


def refused(call, *parts):
    with pytest.raises(InvalidInput) as caught:
        call()
    for part in parts:
        assert part in str(caught.value)
    assert caught.value.remedy


def test_a_device_kind_takes_its_own_workloads_where_there_are_any(tmp_path):
    write_problem(tmp_path, workloads=[raw_workload(uuid="gpu")])
    write_problem(tmp_path, workloads=[raw_workload(uuid="laptop")], kind="cpu")
    assert read_problem(tmp_path, "cpu").workloads[0].uuid == "laptop"
    assert read_problem(tmp_path, "cuda").workloads[0].uuid == "gpu"


def test_blank_lines_are_skipped_and_odd_line_breaks_inside_strings_are_kept(tmp_path):
    path = tmp_path / "w.jsonl"
    line = json.dumps(raw_workload(uuid="a\u2028b"), ensure_ascii=False)
    path.write_text(f"\n{line}\r\n\n  \n", encoding="utf-8")
    assert [workload.uuid for workload in read_workloads(path)] == ["a\u2028b"]


def test_an_error_names_file_line_field_and_remedy(tmp_path):
    path = tmp_path / "w.jsonl"
    path.write_text(json.dumps(raw_workload()) + "\n\n" + json.dumps(raw_workload(axes={"rows": "4"})) + "\n")
    refused(lambda: read_workloads(path), str(path), "line 3", "axes.rows", "whole number")


def test_at_most_five_faults_are_told(tmp_path):
    path = tmp_path / "d.json"
    inputs = {f"x{n}": {"shape": ["rows"], "dtype": "uint8"} for n in range(9)}
    path.write_text(json.dumps(raw_definition(inputs=inputs)))
    refused(lambda: read_definition(path), "inputs.x4.dtype", "4 more")


@pytest.mark.parametrize("text", ['{"a": NaN}', '{"a": -Infinity}', "{", "", "[" * 100_000])
def test_what_is_not_strict_json_is_refused(tmp_path, text):
    path = tmp_path / "d.json"
    path.write_text(text)
    refused(lambda: read_definition(path), str(path), "JSON")


def test_bytes_that_are_not_utf8_are_refused(tmp_path):
    path = tmp_path / "d.json"
    path.write_bytes(b'{"name": "\xff"}')
    refused(lambda: read_definition(path), "UTF-8")


def test_a_record_that_is_no_object_is_refused(tmp_path):
    path = tmp_path / "d.json"
    path.write_text("[1]")
    refused(lambda: read_definition(path), str(path), "braces")


def test_a_misspelt_problem_gets_close_names(tmp_path):
    write_problem(tmp_path / "softmax")
    refused(lambda: read_problem(tmp_path / "sofmax", "cpu"), "sofmax", "Did you mean softmax?")
    refused(lambda: read_problem(tmp_path / "qqq", "cpu"), "holds: softmax")
    refused(lambda: read_problem(tmp_path, "cpu"), "Name one of the problems in it: softmax")
    refused(lambda: read_problem(tmp_path / "a" / "b", "cpu"), "no such problem folder")


def test_a_problem_without_workloads_is_refused(tmp_path):
    refused(lambda: read_problem(write_problem(tmp_path, workloads=[]), "cpu"), "holds no workload")
    (tmp_path / "workload.jsonl").unlink()
    refused(lambda: read_problem(tmp_path, "cpu"), "workload.jsonl", "cannot be read")


def test_a_folder_of_problems_is_read_lazily_with_a_reason_for_each_failure(tmp_path):
    write_problem(tmp_path / "b")
    write_problem(tmp_path / "a", definition=raw_definition(reference="def other(): pass"))
    (tmp_path / "notes").mkdir()
    found = iterate_problems(tmp_path, "cpu")
    first = next(found)
    (tmp_path / "b" / "definition.json").write_text(json.dumps(raw_definition(name="written later")))
    second = next(found)
    assert isinstance(first, RefusedProblem)
    assert "def run" in first.reason
    assert isinstance(second, ReadProblem)
    assert second.problem.name == "written later"
    assert list(found) == []


def test_a_problem_folder_is_a_problem_set_of_one(tmp_path):
    (found,) = iterate_problems(write_problem(tmp_path), "cpu")
    assert isinstance(found, ReadProblem)


def test_an_empty_folder_is_no_problem_set(tmp_path):
    refused(lambda: list(iterate_problems(tmp_path, "cpu")), "holds no problem folder")


def test_empty_contents_are_filled_from_beside_the_json(tmp_path):
    path = tmp_path / "solution.json"
    path.write_text(json.dumps(raw_solution(sources=[{"path": "main.py", "content": ""}])))
    refused(lambda: read_solution(path), "main.py")
    (tmp_path / "main.py").write_text("def run(): ...\n")
    assert read_solution(path).sources[0].content == "def run(): ...\n"


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret.py").write_text("x = 1")
    (inside / "main.py").symlink_to(tmp_path / "secret.py")
    path = inside / "solution.json"
    path.write_text(json.dumps(raw_solution(sources=[{"path": "main.py", "content": ""}])))
    refused(lambda: read_solution(path), "leads outside")


def test_trap_1_a_misspelt_ratio_is_dropped_once_aloud_and_the_default_applies(tmp_path, caplog):
    misspelt = {"max_atol": 0.5, "required_match_ratio": 0.5}
    workloads = [raw_workload(uuid=f"w{n}", tolerance=misspelt) for n in range(3)]
    directory = write_problem(tmp_path, workloads=workloads)
    with caplog.at_level(logging.WARNING):
        problem = read_problem(directory, "cuda")
    assert {w.tolerance.required_matched_ratio for w in problem.workloads} == {0.99}
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1
    assert "'tolerance.required_match_ratio' is dropped (3 lines, first 1)" in lines[0]


def test_trap_2_a_missing_tolerance_takes_the_public_defaults(tmp_path):
    workloads = [raw_workload(), raw_workload(uuid="w2", tolerance={"allow_negative_inf": True})]
    first, second = read_problem(write_problem(tmp_path, workloads=workloads), "cpu").workloads
    assert first.tolerance == ToleranceSpec(max_atol=1e-2, max_rtol=1e-2, required_matched_ratio=0.99)
    assert second.tolerance.allow_negative_inf


def test_trap_5_an_empty_axis_is_var_and_an_empty_descriptor_random_with_a_warning(tmp_path, caplog):
    axes = {"rows": {}, "hidden": {"value": 8}, "twice": {"expression": "2 * rows"}}
    workload = raw_workload(inputs={"x": {}, "weight": {"value": 2}})
    directory = write_problem(tmp_path, definition=raw_definition(axes=axes), workloads=[workload])
    with caplog.at_level(logging.WARNING):
        problem = read_problem(directory, "cpu")
    assert [axis.type for axis in problem.definition.axes.values()] == ["var", "const", "expr"]
    assert [given.type for given in problem.workloads[0].inputs.values()] == ["random", "scalar"]
    assert "'axes.rows' has no type and is read as 'var'" in caplog.text
    assert "'inputs.x' has no type and is read as 'random'" in caplog.text


@pytest.mark.parametrize(
    ("axes", "named"),
    [({"rows": 4, "hidden": 16}, "'hidden'"), ({"rows": 4, "other": 1}, "'other'"), ({}, "'rows'")],
)
def test_trap_6_stray_axes_are_refused_in_our_own_problems(tmp_path, axes, named):
    directory = write_problem(tmp_path, workloads=[raw_workload(axes=axes)])
    refused(lambda: read_problem(directory, "cpu", strict=True), "w1", named)


def test_trap_6_upstream_workloads_may_override_const_axes_and_name_unknown_ones(tmp_path):
    workload = raw_workload(axes={"rows": 4, "hidden": 16, "other": 1})
    problem = read_problem(write_problem(tmp_path, workloads=[workload]), "cpu")
    assert problem.definition.sizes(problem.workloads[0].axes)["hidden"] == 16


def test_a_uuid_used_twice_is_refused_in_our_own_problems(tmp_path):
    directory = write_problem(tmp_path, workloads=[raw_workload(), raw_workload()])
    refused(lambda: read_problem(directory, "cpu", strict=True), "used twice")
    read_problem(directory, "cpu")


def test_trap_7_an_expression_that_explodes_is_refused_by_name(tmp_path):
    axes = raw_definition()["axes"] | {"big": {"type": "expr", "expression": "2**(10**6)"}}
    directory = write_problem(tmp_path, definition=raw_definition(axes=axes))
    refused(lambda: read_problem(directory, "cpu"), "w1", "exponent")


def test_trap_8_a_generator_may_stand_beside_random_descriptors(tmp_path):
    reference = REFERENCE + "\n\ndef get_inputs(axes, device):\n    return {}\n"
    definition = raw_definition(reference=reference, custom_inputs_entrypoint="get_inputs")
    problem = read_problem(write_problem(tmp_path, definition=definition), "cpu")
    assert problem.definition.custom_inputs_entrypoint == "get_inputs"
    assert {given.type for given in problem.workloads[0].inputs.values()} == {"random"}


def test_a_shape_that_overflows_names_axis_and_workload(tmp_path):
    directory = write_problem(tmp_path, workloads=[raw_workload(axes={"rows": 10**400})])
    refused(lambda: read_problem(directory, "cpu"), "w1", "'rows'")


def test_constraints_are_documentation_and_never_evaluated(tmp_path, caplog):
    definition = raw_definition(constraints=["__import__('os').abort()"])
    with caplog.at_level(logging.WARNING):
        read_problem(write_problem(tmp_path, definition=definition), "cpu")
    assert "'constraints' is dropped" in caplog.text
