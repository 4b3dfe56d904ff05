"""Whole sets: nested folders, rows of the public table, and members that cannot be read."""

import json
import sys
from types import ModuleType

import pytest
from builders import make_definition, make_workload

from deep_agent.errors import InvalidInput, MissingTool
from deep_agent.problem.sets import is_problem_set, member_of_row, problem_folders, set_members


def put(folder, *, definition=None, workloads=None):
    folder.mkdir(parents=True)
    (folder / "definition.json").write_text(json.dumps(definition or fields()))
    lines = workloads if workloads is not None else [make_workload().model_dump_json()]
    (folder / "workload.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def fields(**changes):
    return json.loads(make_definition().model_dump_json()) | changes


def row(**changes):
    """A row as the public table has it: structured columns are JSON text."""
    whole = fields(hf_id="", name="double")
    whole = {key: json.dumps(value) if key in {"axes", "inputs", "outputs"} else value for key, value in whole.items()}
    return whole | {"workloads": json.dumps([json.loads(make_workload().model_dump_json())])} | changes


def test_members_are_found_in_subset_folders_in_name_order(tmp_path):
    for place in ("L2/b", "L1/a", "alone", ".git/hidden"):
        put(tmp_path / place)
    assert [member.place for member in set_members(tmp_path, "cuda")] == ["L1/a", "L2/b", "alone"]
    assert problem_folders(tmp_path / "none") == ()


def test_a_problem_folder_is_no_set(tmp_path):
    put(tmp_path / "one")
    assert is_problem_set(tmp_path)
    assert not is_problem_set(tmp_path / "one")
    assert not is_problem_set(tmp_path / "absent")


def test_a_broken_member_gives_its_reason_and_stops_no_other(tmp_path):
    put(tmp_path / "a", definition={"name": "a"})
    put(tmp_path / "b", workloads=["{"])
    put(tmp_path / "c", workloads=[])
    put(tmp_path / "d")
    broken, torn, empty, good = set_members(tmp_path, "cpu")
    assert "axes" in broken.reason
    assert "line 1" in torn.reason
    assert "no workload" in empty.reason
    assert good.problem is not None
    assert good.reason == ""


def test_a_wrong_size_of_one_workload_leaves_its_problem_readable(tmp_path):
    put(tmp_path / "a", workloads=[json.dumps({"uuid": "w", "axes": {}, "inputs": {}})])
    (member,) = set_members(tmp_path, "cpu")
    assert member.problem is not None


def test_an_empty_model_name_reads_as_none(tmp_path):
    put(tmp_path / "a", definition=fields(hf_id=""))
    (member,) = set_members(tmp_path, "cpu")
    assert member.problem.definition.hf_id is None


def test_a_directory_without_problems_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="holds no problem"):
        list(set_members(tmp_path, "cpu"))


def test_a_row_of_the_public_table_is_a_member():
    member = member_of_row(row(op_type=None, custom_inputs_entrypoint=None), subset="L1")
    assert member.place == "L1/double"
    assert member.problem.definition.hf_id is None
    assert member.problem.definition == make_definition(name="double")
    assert member.problem.workloads == (make_workload(),)


def test_workloads_encoded_twice_are_read():
    once = json.loads(row()["workloads"])
    assert member_of_row(row(workloads=json.dumps([json.dumps(one) for one in once])), subset="L1").problem is not None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"axes": "{"}, "axes"),
        ({"workloads": "{}"}, "no list"),
        ({"workloads": None}, "no list"),
        ({"name": None}, "name"),
    ],
)
def test_a_broken_row_gives_its_reason(changes, said):
    member = member_of_row(row(**changes), subset="L1")
    assert member.problem is None
    assert said in member.reason


def test_parquet_without_its_library_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "L1.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingTool, match="pyarrow") as caught:
        list(set_members(tmp_path, "cuda"))
    assert "pip install pyarrow" in caught.value.remedy


class Batch:
    def __init__(self, rows):
        self._rows = rows

    def to_pylist(self):
        return self._rows


def test_parquet_files_are_read_batch_by_batch(tmp_path, monkeypatch):
    """The library's twin: the same two calls, on rows of ours."""

    class ParquetFile:
        def __init__(self, path):
            if path.stem == "torn":
                raise ValueError("not parquet")

        def iter_batches(self, *, batch_size):
            yield Batch([row()])
            yield Batch([row(name="second")])

    twin = ModuleType("pyarrow.parquet")
    twin.ParquetFile = ParquetFile
    monkeypatch.setitem(sys.modules, "pyarrow", ModuleType("pyarrow"))
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", twin)
    for name in ("L1", "torn"):
        (tmp_path / f"{name}.parquet").write_bytes(b"")
    members = list(set_members(tmp_path, "cuda"))
    assert [member.place for member in members] == ["L1/double", "L1/second", "torn.parquet"]
    assert "not parquet" in members[-1].reason
