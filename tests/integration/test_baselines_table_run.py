"""The runner of the table of baselines with a real judge: rows are written one by one and never made twice."""

import json
import sys
from pathlib import Path

import pytest

from deep_agent.harness.baselines import MAX_AUTOTUNE
from deep_agent.problem.evaluation import BaselineChoice
from deep_agent.problem.readers import read_problem
from services.cli.rowfile import RowFile

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import baselines_table as table_module
from side_by_side import Wanted, Workshop

pytestmark = pytest.mark.integration

REFERENCE = "import torch\n\n\ndef run(x):\n    return torch.softmax(x, -1)\n"
QUICK = frozenset({"torch_compile", MAX_AUTOTUNE})
BREAKS = "import torch\n\n\ndef run(x):\n    return torch.softmax(x, 5)\n"


def problem(folder: Path, reference: str) -> Path:
    folder.mkdir()
    tensor = {"shape": ["rows", "cols"], "dtype": "float32"}
    definition = {
        "name": folder.name,
        "axes": {"rows": {"type": "var"}, "cols": {"type": "var"}},
        "inputs": {"x": tensor},
        "outputs": {"y": tensor},
        "reference": reference,
    }
    (folder / "definition.json").write_text(json.dumps(definition))
    lines = [{"uuid": uuid, "axes": {"rows": 300, "cols": 700}, "inputs": {}} for uuid in ("one", "two")]
    (folder / "workload.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def entries(folder: Path, reference: str) -> list[table_module.Entry]:
    return list(table_module.entries_of(read_problem(problem(folder, reference), "cpu")))


def test_a_cut_run_goes_on_where_it_ended_and_a_broken_problem_does_not_end_it(tmp_path, capsys):
    devices = table_module.open_devices("cpu", tmp_path)
    (bad, _), (_, good) = (entries(tmp_path / name, text) for name, text in (("bad", BREAKS), ("good", REFERENCE)))
    out = tmp_path / "table.jsonl"
    with Workshop("cpu", tmp_path / "judge") as workshop:
        table = table_module.Table(devices, workshop, QUICK)
        with RowFile(out) as file:
            table_module.fill(table, file, devices, [bad])
        before = out.read_text()
        out.write_text(before + '{"problem": "good", "workl')
        with RowFile(out) as file:
            table_module.fill(table, file, devices, [bad, good])
    lines = out.read_text().splitlines()
    failed, measured = (json.loads(line) for line in lines)
    assert lines[0] + "\n" == before
    assert "2 rows, 1 of them kept" in capsys.readouterr().err
    assert failed["error"] is not None
    assert failed["time_us"] == {}
    assert (measured["error"], measured["workload"]) == (None, "two")
    assert set(measured["time_us"]) == {"eager", "eager_out"}
    assert measured["software"]["torch"]
    assert measured["before"]["processor"]
    assert table_module.render(out) == 0
    assert "good" in out.with_suffix(".md").read_text()


def test_rows_set_up_side_by_side_are_told_apart_and_a_broken_one_costs_no_other(tmp_path):
    devices = table_module.open_devices("cpu", tmp_path)
    todo = [
        *entries(tmp_path / "good", REFERENCE),
        *entries(tmp_path / "bad", BREAKS),
        *entries(tmp_path / "more", REFERENCE),
    ]
    with Workshop("cpu", tmp_path / "judge") as workshop:
        rows = list(table_module.Table(devices, workshop, QUICK, at_once=4).rows(todo))
    assert [(row["problem"], row["workload"]) for row in rows] == [entry.key for entry in todo]
    assert [row["set_up_beside"] for row in rows] == [3, 3, 3, 3, 1, 1]
    assert [bool(row["error"]) for row in rows] == [False, False, True, True, False, False]
    assert all(len(row["time_us"]) == 2 for row in rows if not row["error"])


def test_nothing_is_measured_before_a_whole_batch_is_set_up(tmp_path):
    steps: list[str] = []
    wanted = [
        Wanted(entry.problem, BaselineChoice(names=("eager",)))
        for name in ("first", "second")
        for entry in entries(tmp_path / name, REFERENCE)[:1]
    ]
    with Workshop("cpu", tmp_path / "judge") as workshop:
        benches = workshop.set_up(wanted, steps.append)
        assert {step.partition(":")[0] for step in steps} == {"first", "second"}
        assert not any("timing" in step for step in steps)
        found = [workshop.measure(bench, steps.append) for bench in benches]
        workshop.close(benches)
    assert [one.problem for one in found] == ["first", "second"]
    assert all(one.baselines[0].time_us["one"] > 0 for one in found)


def test_a_row_that_its_neighbours_crowded_out_is_made_once_more_alone(tmp_path, capsys):
    devices = table_module.open_devices("cpu", tmp_path)
    crowded = entries(
        tmp_path / "crowded", REFERENCE.replace("return", "raise MemoryError('out of memory')\n    return")
    )
    todo = [*crowded[:1], *entries(tmp_path / "good", REFERENCE)[:1]]
    with Workshop("cpu", tmp_path / "judge") as workshop:
        rows = list(table_module.Table(devices, workshop, QUICK, at_once=2).rows(todo))
    assert [(row["problem"], row["set_up_beside"]) for row in rows] == [("good", 1), ("crowded", 0)]
    assert "setting up crowded once more, alone" in capsys.readouterr().err
