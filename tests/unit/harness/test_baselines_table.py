"""The table of baselines: what its rows promise, its page, and the committed files."""

import json
import sys
from pathlib import Path

import pytest

from deep_agent.errors import InvalidInput
from deep_agent.harness.baselines import MAX_AUTOTUNE, baseline_sources
from deep_agent.problem.bound import Figures, SolBound, Work
from deep_agent.problem.cards import spec_named
from deep_agent.problem.dtype import DType
from deep_agent.problem.evaluation import Baseline, BaselineChoice, Characterization, Ratio
from deep_agent.problem.readers import read_problem
from services.cli.rowfile import RowFile

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))

import baselines_table as table_module  # noqa: E402
from baselines_page import page, violations  # noqa: E402
from library_calls import LIBRARY_CALLS, library_call  # noqa: E402

TABLES = sorted((ROOT / "benchmarks" / "results").glob("table_*.jsonl"))


def bound(time_us: float, gate_us: float | None = None) -> SolBound:
    work = Work(macs={}, other_flop=0, special_flop=0, read_bytes=1, written_bytes=1)
    figures = Figures(strict_us=time_us, gate_us=gate_us)
    kind = "sheet" if gate_us else "measured"
    return SolBound(workload="w", time_us=time_us, limiter="memory", work=work, tier=1, bound_kind=kind, bounds=figures)


def characterization() -> Characterization:
    return Characterization(
        problem="made",
        device="cpu",
        baselines=(
            Baseline(name="eager", time_us={"w": 30.0}),
            Baseline(name="torch_compile", time_us={"w": 20.0}),
            Baseline(name="library", time_us={}, failure="its result differs"),
        ),
        best={"w": "torch_compile"},
        noise=Ratio(value=1.0, low=0.98, high=1.02, n_rounds=9),
        device_s=1.0,
    )


def row(**changes: object) -> dict[str, object]:
    parts = table_module.measured(characterization(), "w", bound(10.0, 8.0), bound(12.0))
    made = {
        "problem": "made", "workload": "w", "baseline_set": "eager", "device": "cuda", "device_name": "a card",
        "axes": {}, "error": None, "software": {"torch": "x"}, "before": {"clocks.sm": "120 MHz"},
        "after": {"clocks.sm": "1980 MHz"}, **parts,
    }  # fmt: skip
    return {**made, **changes}


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.name)
def test_every_strict_bound_of_a_committed_table_lies_below_every_time(path):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert any(one["time_us"] for one in rows)
    assert violations(rows) == []


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.name)
def test_a_committed_page_is_that_of_its_rows(path):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    title = f"Baselines and bounds on {rows[0]['device_name']}"
    assert path.with_suffix(".md").read_text() == page(rows, title=title)


def test_the_best_baseline_scores_a_half_and_ratios_are_of_its_time():
    made = row()
    assert made["sol_score"]["torch_compile"]["raw"] == pytest.approx(0.5)
    assert made["sol_score"]["eager"]["raw"] == pytest.approx(1 / 3)
    assert made["best_over_strict"] == pytest.approx(2.0)
    assert made["best_over_ceiling"] == pytest.approx(20 / 12)
    assert made["failures"] == {"library": "its result differs"}


def test_a_time_at_its_bound_is_a_violation_and_stands_on_the_page():
    low = row(time_us={"eager": 10.0}, best="eager")
    assert len(violations([low])) == 1
    assert violations([row()]) == []
    assert "Times below their bound" in page([low], title="t")
    assert "Times below their bound" not in page([row()], title="t")


def test_the_page_shows_failures_with_their_reasons_and_clocks_in_order_of_size():
    failed = row(error="the judge broke", bounds=None, time_us={}, best=None, noise=None)
    shown = page([row(), failed], title="t")
    assert "made w: the judge broke" in shown
    assert "library call (w): its result differs" in shown
    assert "clocks.sm: 120 MHz to 1980 MHz" in shown
    assert "**20.00 (0.50)**" in shown


def test_a_probed_card_charges_only_probed_types_and_proves_nothing():
    sheet = spec_named("h200").model()
    rates = {
        "memory": {"read": 4.0e12, "copy": 4.2e12, "triad": 4.2e12, "write": 4.1e12},
        "products": {"float32": 2.0e14, "bfloat16": 3.9e14, "float16": 3.9e14},
    }
    probed = table_module.probed_model(sheet, rates)
    assert probed.bound_kind == "measured"
    assert set(probed.mac_per_s) == {DType.FLOAT32, DType.BFLOAT16, DType.FLOAT16}
    assert probed.bandwidth.copy_bytes_per_s == 4.2e12
    assert sheet.bound_kind == "sheet"


def test_a_choice_names_the_baselines_and_adds_the_library():
    definition = read_problem(ROOT / "problems" / "rmsnorm", "cpu").definition
    call = library_call("rmsnorm")
    chosen = baseline_sources(definition, choice=BaselineChoice(names=("eager", MAX_AUTOTUNE), library=call))
    assert [one.name for one in chosen] == ["eager", MAX_AUTOTUNE, "library"]
    assert MAX_AUTOTUNE not in {one.name for one in baseline_sources(definition)}
    assert baseline_sources(definition, on_device=True, choice=BaselineChoice()) == baseline_sources(
        definition, on_device=True
    )


def test_every_library_call_is_of_a_problem_that_exists():
    assert set(LIBRARY_CALLS) <= {folder.name for folder in (ROOT / "problems").iterdir()}
    assert library_call("softmax") is None


def test_a_file_of_another_device_takes_no_rows(tmp_path):
    out = tmp_path / "t.jsonl"
    out.write_text(json.dumps(row()) + "\n")
    model = spec_named("h200").model()
    devices = table_module.Devices("cuda", model, model)
    with RowFile(out) as file, pytest.raises(InvalidInput, match="a card"):
        table_module.fill(table_module.Table(devices, tmp_path, frozenset()), file, devices, [])
