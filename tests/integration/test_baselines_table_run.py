"""The runner of the table of baselines with a real judge: rows are written one by one and never made twice."""

import json
import sys
from pathlib import Path

import pytest

from deep_agent.harness.baselines import MAX_AUTOTUNE
from deep_agent.problem.readers import read_problem
from services.cli.rowfile import RowFile

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import baselines_table as table_module

pytestmark = pytest.mark.integration

REFERENCE = "import torch\n\n\ndef run(x):\n    return torch.softmax(x, -1)\n"
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


def test_a_cut_run_goes_on_where_it_ended_and_a_broken_problem_does_not_end_it(tmp_path, capsys):
    devices = table_module.open_devices("cpu", tmp_path)
    table = table_module.Table(devices, tmp_path, frozenset({"torch_compile", MAX_AUTOTUNE}))
    good, bad = problem(tmp_path / "good", REFERENCE), problem(tmp_path / "bad", BREAKS)
    todo = [(bad, read_problem(bad, "cpu"), "one"), (good, read_problem(good, "cpu"), "two")]
    out = tmp_path / "table.jsonl"
    with RowFile(out) as file:
        table_module.fill(table, file, devices, todo[:1])
    before = out.read_text()
    out.write_text(before + '{"problem": "good", "workl')
    with RowFile(out) as file:
        table_module.fill(table, file, devices, todo)
    lines = out.read_text().splitlines()
    failed, measured = (json.loads(line) for line in lines)
    assert lines[0] + "\n" == before
    assert "bad one: kept" in capsys.readouterr().err
    assert failed["error"] is not None
    assert failed["time_us"] == {}
    assert (measured["error"], measured["workload"]) == (None, "two")
    assert set(measured["time_us"]) == {"eager", "eager_out"}
    assert measured["software"]["torch"]
    assert measured["before"]["processor"]
    assert table_module.render(out) == 0
    assert "good" in out.with_suffix(".md").read_text()
