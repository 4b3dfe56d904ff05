"""The command `bound`: what it tells, what a set's file keeps, and what doctor says of cards."""

import json
import resource
from contextlib import contextmanager

import pytest
from builders import make_bound, make_device, make_problem
from rich.console import Console

from deep_agent.errors import Conflict, InvalidInput, ResourceExhausted
from deep_agent.executor.application import BoundReport
from deep_agent.executor.bound_set import BoundRow, MemberRows
from deep_agent.problem.bound import Figures
from deep_agent.problem.breakdown import Breakdown, ContractionCost, TensorTraffic
from deep_agent.problem.cardfacts import CardFacts
from deep_agent.problem.cards import H200
from deep_agent.problem.dtype import DType
from services.cli import bounds
from services.cli.doctor import cards
from services.cli.explain import duration, explanation, figures_table, n_bytes
from services.cli.rowfile import RowFile

KINDS = Figures(strict_us=10, gate_us=4, capacity_us=11, unfused_us=30, compat_us=8.4)


def make_parts(**changes):
    tensor = {"dtype": DType.FLOAT32, "shape": (8, 64), "charged_bytes": 2048, "dense_bytes": 2048}
    fields = {
        "workload": "w1",
        "tensors": (
            TensorTraffic(name="x", role="input", **tensor),
            TensorTraffic(name="cache", role="input", **tensor | {"charged_bytes": 512}, why="only the part needed"),
            TensorTraffic(name="y", role="output", **tensor | {"shape": ()}),
        ),
        "contractions": (
            ContractionCost(
                operation="aten.mm.default",
                n_calls=3,
                operands="8x64 by 64x64",
                dtype=DType.FLOAT32,
                macs=98_304,
                mac_per_s=5e14,
                time_us=2.5,
            ),
            ContractionCost(
                operation="aten.bmm.default",
                n_calls=1,
                operands="1x2x2 by 1x2x2",
                dtype=DType.INT64,
                macs=8,
                mac_per_s=None,
                time_us=0,
            ),
        ),
        "memory_us": 10,
        "compute_us": 2.5,
        "not_charged": ("the launch itself",),
    }
    return Breakdown.model_validate(fields | changes)


def make_report(**changes):
    fields = {
        "problem": make_problem(),
        "device": H200.model(),
        "bounds": (make_bound("w1", bounds=KINDS, bound_kind="sheet"),),
        "breakdowns": (make_parts(),),
    }
    return BoundReport.model_validate(fields | changes)


def told(*parts):
    console = Console(width=200, no_color=True, record=True, file=None, quiet=False, markup=False)
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    return captured.get()


def test_the_table_has_every_kind_of_bound():
    text = told(figures_table(make_report()))
    for cell in (
        "Gate",
        "Strict",
        "Capacity",
        "Unfused",
        "Published",
        "4 us",
        "10.0 us",
        "11.0 us",
        "30.0 us",
        "8.4 us",
    ):
        assert cell in text
    assert "rows 8" in text


def test_a_record_without_kinds_still_has_its_bound():
    assert told(figures_table(make_report(bounds=(make_bound("w1"),)))).count("10.0 us") == 1


def test_the_explanation_says_what_counts_at_which_rate_and_what_wins():
    text = told(*explanation(make_report()))
    assert "w1: 10.0 us, memory wins (10.0 us of memory, 2.5 us of multiply-adds); tier 1" in text
    assert "of 2.048 kB: only the part needed" in text
    assert "aten.mm.default" in text
    assert "1,000 TFLOP/s" in text
    assert "no rate" in text
    assert "- the launch itself" in text
    assert "- copy rate" in text
    assert "gate: below it a time is physically impossible" in text
    assert "tf32 path" in text


def test_an_explanation_without_parts_still_gives_notes_and_rates():
    text = told(*explanation(make_report(breakdowns=(), device=make_device())))
    assert "w1: 10.0 us, memory wins; tier 1" in text
    assert "best of 5 copies" in text


@pytest.mark.parametrize(
    ("time_us", "said"), [(0.00321, "0.00321 us"), (9.876, "9.88 us"), (109.19, "109.2 us"), (12_345, "12.3 ms")]
)
def test_a_time_is_written_in_the_unit_that_suits_it(time_us, said):
    assert duration(time_us) == said


def test_bytes_are_decimal_as_bandwidths_are():
    assert [n_bytes(count) for count in (12, 2048, 67_108_864, 4.8e9)] == ["12 B", "2.048 kB", "67.11 MB", "4.8 GB"]


@pytest.mark.parametrize("half", ['{"problem": "c", "wor', "{", '{"'])
def test_a_row_file_keeps_whole_rows_and_drops_a_torn_one(tmp_path, half):
    path = tmp_path / "new" / "rows.jsonl"
    with RowFile(path) as file:
        assert file.kept == ()
        file.add([{"problem": "a"}, {"problem": "b"}])
    with path.open("a") as torn:
        torn.write(half)
    with RowFile(path) as file:
        assert file.kept == ({"problem": "a"}, {"problem": "b"})
        file.add([{"problem": "d"}])
    assert [json.loads(line)["problem"] for line in path.read_text().splitlines()] == ["a", "b", "d"]


@pytest.mark.parametrize("end", ["", "\n"], ids=["no end of line", "whole lines"])
@pytest.mark.parametrize("content", ["dear diary", '{"my": "results"}', "[1, 2]"])
def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path, content, end):
    path = tmp_path / "notes.txt"
    path.write_text(content + end)
    with pytest.raises(InvalidInput, match="line 1"), RowFile(path):
        pass
    assert path.read_text() == content + end


def test_a_last_row_that_is_whole_but_for_the_end_of_its_line_is_kept(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"problem": "a"}')
    with RowFile(path) as file:
        assert file.kept == ({"problem": "a"},)
        file.add([{"problem": "b"}])
    assert path.read_text() == '{"problem": "a"}\n{"problem": "b"}\n'


def test_only_one_process_writes_a_row_file(tmp_path):
    with RowFile(tmp_path / "rows.jsonl"), pytest.raises(Conflict, match="another process"):
        RowFile(tmp_path / "rows.jsonl").__enter__()
    with RowFile(tmp_path / "rows.jsonl"):
        pass


@contextmanager
def files_of_at_most(n_bytes):
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def test_a_row_that_finds_no_room_is_told_as_such(tmp_path):
    with (
        RowFile(tmp_path / "rows.jsonl") as file,
        files_of_at_most(100),
        pytest.raises(ResourceExhausted, match="too large"),
    ):
        file.add([{"problem": "a" * 200}])


def test_a_folder_is_no_row_file(tmp_path):
    with pytest.raises((InvalidInput, ResourceExhausted)), RowFile(tmp_path):
        pass


class SetTwin:
    """An application that knows one set of two members."""

    def __init__(self, *, failing=False):
        self.failing = failing
        self.done = None

    def device_name(self, device):
        return device.upper()

    def bound_set(self, directory, *, device, done=frozenset()):
        self.done = done
        good = BoundRow(problem="a", workload="w1", bounds=KINDS, limiter="memory", tier=1)
        bad = BoundRow(problem="b", workload=None, error="no such axis")
        for place, row in enumerate([bad, bad] if self.failing else [good, bad]):
            rows = () if row.key in done else (row,)
            yield MemberRows(place=f"L{place}/x", rows=rows, n_kept=1 - len(rows), n_members=2)


@pytest.fixture
def twin(monkeypatch):
    application = SetTwin()

    @contextmanager
    def opened():
        yield application

    monkeypatch.setattr(bounds, "opened", opened)
    return application


def ask(folder, **changes):
    return bounds.run(
        bounds.Asked.model_validate({"problem": str(folder), "device": "h200", "json_out": True} | changes)
    )


def test_a_set_prints_one_object_a_line_and_progress_apart(twin, tmp_path, capsys):
    assert ask(tmp_path) == 0
    said = capsys.readouterr()
    first, second = (json.loads(line) for line in said.out.splitlines())
    assert set(first) == {"problem", "workload", "bounds", "limiter", "tier", "error"}
    assert first["bounds"] == {
        "device": "H200",
        "strict_us": 10,
        "gate_us": 4,
        "capacity_us": 11,
        "unfused_us": 30,
        "compat_us": 8.4,
    }
    assert (second["bounds"], second["error"]) == (None, "no such axis")
    assert "1/2 L0/x: 1 bounds" in said.err
    assert "2/2 L1/x: 0 bounds, 1 without" in said.err


def test_a_set_goes_on_where_its_file_ends(twin, tmp_path, capsys):
    out = tmp_path / "rows.jsonl"
    assert ask(tmp_path, out=out) == 0
    assert json.loads(capsys.readouterr().out) == {"out": str(out), "rows": 2, "failed": 1, "kept": 0}
    before = out.read_text()
    assert ask(tmp_path, out=out) == 0
    assert twin.done == {("a", "w1"), ("b", None)}
    assert out.read_text() == before
    assert json.loads(capsys.readouterr().out)["kept"] == 2


def test_rows_of_two_devices_do_not_share_a_file(twin, tmp_path):
    out = tmp_path / "rows.jsonl"
    ask(tmp_path, out=out)
    with pytest.raises(InvalidInput, match="holds bounds of H200, not of H100"):
        ask(tmp_path, out=out, device="h100")


def test_a_set_is_told_in_a_table_too(twin, tmp_path, capsys):
    assert ask(tmp_path, json_out=False) == 0
    said = capsys.readouterr().out
    assert "no such axis" in said
    assert "2 rows, 1 without a bound" in said


def test_a_set_without_a_single_bound_has_failed(twin, tmp_path):
    twin.failing = True
    assert ask(tmp_path) == 1


def test_flags_of_one_problem_and_of_a_set_are_told_apart(twin, tmp_path):
    with pytest.raises(InvalidInput, match="--explain"):
        ask(tmp_path, explain=True)
    with pytest.raises(InvalidInput, match="--out"):
        ask("rmsnorm", out=tmp_path / "rows.jsonl")


def test_doctor_says_that_a_machine_has_no_card_and_needs_none():
    (check,) = cards(())
    assert (check.ok, check.needed) == (False, False)
    assert "no card" in check.found


def test_doctor_holds_a_card_against_its_spec():
    good = CardFacts(name="NVIDIA H200", sm_count=132, sm_clock_max_hz=1980e6, l2_bytes=60 * 2**20)
    other = CardFacts(name="NVIDIA H200", sm_count=120)
    unknown = CardFacts(name="NVIDIA T4")
    agreeing, differing, foreign = cards((good, other, unknown))
    assert agreeing.ok
    assert "multiprocessors, SM clock, L2" in agreeing.found
    assert "not compared: memory clock" in agreeing.found
    assert not differing.ok
    assert "120 here, 132 in the spec" in differing.found
    assert "no device spec" in foreign.found
    assert not any(check.needed for check in (agreeing, differing, foreign))
