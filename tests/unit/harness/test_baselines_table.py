"""The table of baselines: what its rows promise, its page, and the committed files."""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from deep_agent.errors import HarnessFailed, InvalidInput
from deep_agent.harness.baseline_arms import error_line
from deep_agent.harness.baselines import MAX_AUTOTUNE, baseline_sources
from deep_agent.problem.bound import Figures, SolBound, Work
from deep_agent.problem.cards import spec_named
from deep_agent.problem.dtype import DType
from deep_agent.problem.evaluation import Baseline, BaselineChoice, Characterization, Ratio
from deep_agent.problem.footprint import workload_bytes
from deep_agent.problem.readers import read_problem
from services.cli.rowfile import RowFile

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))

import baselines_table as table_module  # noqa: E402
import machine as machine_module  # noqa: E402
import side_by_side  # noqa: E402
import throughput  # noqa: E402
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


def test_tables_of_a_processor_and_of_a_card_are_committed():
    assert {"table_cpu", "table_h200"} <= {path.stem for path in TABLES}


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
    table = table_module.Table(devices, side_by_side.Workshop("cuda", tmp_path), frozenset())
    with RowFile(out) as file, pytest.raises(InvalidInput, match="a card"):
        table_module.fill(table, file, devices, [])


def test_the_page_says_that_compilers_tuned_themselves_side_by_side_and_only_then():
    assert "beside that of up to 3 other problems" in page([row(set_up_beside=3), row()], title="t")
    assert "tuned itself" not in page([row(set_up_beside=0), row()], title="t")


def test_batches_keep_the_order_the_count_and_the_memory():
    assert side_by_side.batches([1, 1, 1, 1, 1], most=2, limit_bytes=100) == [[0, 1], [2, 3], [4]]
    assert side_by_side.batches([30, 40, 50, 10], most=4, limit_bytes=80) == [[0, 1], [2, 3]]
    assert side_by_side.batches([200, 1, 200], most=4, limit_bytes=80) == [[0], [1], [2]]
    assert side_by_side.batches([], most=4, limit_bytes=80) == []


@dataclass
class Card:
    """A device of so much memory, in which every workload has four sets of buffers."""

    arm_bytes: int = 700 * 2**20
    memory_bytes: int = 80 * 2**30

    def n_sets(self, set_bytes):
        return 4


def test_the_first_workloads_of_our_problems_fit_a_card_of_80_gib_four_at_once():
    needs_bytes = []
    for folder in sorted((ROOT / "problems").iterdir()):
        entry = next(table_module.entries_of(read_problem(folder, "cuda")))
        choice = BaselineChoice(names=table_module.MADE, library=library_call(folder.name))
        needs_bytes.append(side_by_side.needed_bytes(side_by_side.Wanted(entry.problem, choice), Card()))
    cut = side_by_side.batches(needs_bytes, most=4, limit_bytes=side_by_side.SHARE_OF_DEVICE * Card().memory_bytes)
    assert {len(batch) for batch in cut} == {4}


def test_a_bench_needs_its_buffers_an_arm_for_each_baseline_and_one_for_the_twin():
    entry = next(table_module.entries_of(read_problem(ROOT / "problems" / "softmax", "cpu")))
    sizes = entry.problem.workloads[0]
    set_bytes = workload_bytes(entry.problem.definition, sizes)
    wanted = side_by_side.Wanted(entry.problem, BaselineChoice(names=("eager", "eager_out")))
    found = side_by_side.needed_bytes(wanted, Card(arm_bytes=1000))
    assert found == (8 + side_by_side.SPARE_COPIES) * set_bytes + 3 * 1000


def test_only_failures_that_neighbours_cause_are_tried_again_alone():
    assert side_by_side.is_crowded_out(RuntimeError("CUDA out of memory. Tried to allocate"))
    assert side_by_side.is_crowded_out(HarnessFailed("CALL took longer than 240 s and was killed."))
    assert not side_by_side.is_crowded_out(InvalidInput("the reference raises"))


def test_throughput_is_measured_on_a_named_card_and_nothing_else():
    assert [throughput.one_device(name) for name in ("cpu", "cuda", "cuda:1")] == ["cpu", "cuda", "cuda:1"]
    for name in ("cpu:2", "cuda:", "cuda:x", "gpu"):
        with pytest.raises(argparse.ArgumentTypeError, match="none of cpu"):
            throughput.one_device(name)


def test_a_card_is_asked_for_by_the_number_in_its_name(monkeypatch):
    asked = []
    monkeypatch.setattr(machine_module, "_asked_of_card", lambda fields, index: asked.append(index) or ["9.0"] * 8)
    assert machine_module.compiler_of("cuda:1").version
    machine_module.card(machine_module.card_index("cuda:1"))
    machine_module.card(machine_module.card_index("cuda"))
    assert asked == [1, 1, 0]


COMPILER_FAILED = """Traceback (most recent call last):
  File "x.py", line 1, in run
torch._inductor.exc.InductorError: OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.

Set TORCHDYNAMO_VERBOSE=1 for the internal stack trace (please do this if you're reporting a bug: to PyTorch)."""


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        (
            COMPILER_FAILED,
            "torch._inductor.exc.InductorError: OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        ),
        ("its result differs from the reference's: y", "its result differs from the reference's: y"),
        ("Traceback:\nRuntimeError: first\nnoise", "RuntimeError: first"),
        ("  \n", "it failed"),
    ],
)
def test_a_baseline_that_failed_is_told_by_the_line_that_names_the_error(reason, line):
    assert error_line(reason) == line


@pytest.mark.parametrize(
    ("times", "is_mistuned"),
    [
        ({"torch_compile": 104.3, MAX_AUTOTUNE: 389.1}, True),
        ({"torch_compile": 179.8, MAX_AUTOTUNE: 184.6}, False),
        ({"torch_compile": 396.3, MAX_AUTOTUNE: 306.2}, False),
        ({"torch_compile": 104.3}, False),
        ({}, False),
    ],
)
def test_a_tuned_kernel_that_lost_to_the_untuned_one_is_made_again(times, is_mistuned):
    assert table_module.is_mistuned({"time_us": times}) == is_mistuned


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (None, False),
        (
            "a baseline of 'conv' broke: RuntimeError: INTERNAL ASSERT FAILED\ntorch.OutOfMemoryError: CUDA out of memory",
            True,
        ),
        ("the twin of eager of 'attention' broke: CALL took longer than 240 s and was killed.", True),
        ("the reference raises", False),
    ],
)
def test_a_row_that_broke_for_want_of_memory_or_time_is_made_again(error, again):
    assert table_module.owes_to_neighbours({"time_us": {}, "error": error}) == again
