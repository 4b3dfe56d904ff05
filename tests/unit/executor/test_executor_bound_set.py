"""Bounding a set: a row a workload, whatever fails; nothing already there is made again."""

import json
import threading

import pytest
from builders import make_bound, make_definition, make_device, make_workload

from deep_agent.errors import HarnessFailed, InvalidInput, MissingTool
from deep_agent.executor.bound_set import BoundSet
from deep_agent.problem.analysis import Analysis
from deep_agent.problem.bound import Figures


class Surveyor:
    """An analyst in memory: fails where it is told to, and writes down what it was asked."""

    def __init__(self, *, broken=(), lost=(), crashes=(), lacking=False):
        self.broken, self.lost, self.crashes, self.lacking = broken, lost, crashes, lacking
        self.asked = []
        self.n_cancelled = 0
        self._state = threading.Lock()

    def cancel(self):
        self.n_cancelled += 1

    def survey(self, problem, device):
        uuids = [one.uuid for one in problem.workloads]
        with self._state:
            self.asked.append((problem.name, tuple(uuids)))
        if self.lacking:
            raise MissingTool("torch is not installed.")
        if problem.name in self.broken:
            raise InvalidInput("the reference does not load.")
        crashing = [uuid for uuid in uuids if uuid in self.crashes]
        if crashing:
            raise HarnessFailed(f"the analyst ended at {crashing[0]}.")
        good = [uuid for uuid in uuids if uuid not in self.lost]
        bounds = tuple(make_bound(uuid, bounds=Figures(strict_us=10, unfused_us=20)) for uuid in good)
        return Analysis(
            graph=None, bounds=bounds, failures={uuid: "sizes clash" for uuid in uuids if uuid in self.lost}
        )


def put(root, name, *uuids):
    folder = root / name
    folder.mkdir(parents=True)
    definition = make_definition(name=name.rpartition("/")[2])
    (folder / "definition.json").write_text(definition.model_dump_json())
    lines = [make_workload(uuid, rows=place + 1).model_dump_json() for place, uuid in enumerate(uuids or ("w1",))]
    (folder / "workload.jsonl").write_text("\n".join(lines))


def rows_of(root, analyst, **options):
    members = list(BoundSet(analyst, make_device(), **options).rows(root))
    return {row.key: row for member in members for row in member.rows}, members


def test_every_workload_of_every_member_has_a_row(tmp_path):
    put(tmp_path, "L1/a", "w1", "w2")
    put(tmp_path, "L2/b")
    analyst = Surveyor()
    rows, members = rows_of(tmp_path, analyst)
    # It may work for others, too.
    assert analyst.n_cancelled == 0
    assert set(rows) == {("a", "w1"), ("a", "w2"), ("b", "w1")}
    assert all(row.error is None and row.bounds.unfused_us == 20 for row in rows.values())
    assert {member.place for member in members} == {"L1/a", "L2/b"}
    assert {member.n_members for member in members} == {2}


def test_the_second_problem_of_a_name_is_refused_and_the_first_keeps_its_rows(tmp_path):
    put(tmp_path, "L1/a", "w1", "w2")
    put(tmp_path, "L2/a", "w1")
    rows, _ = rows_of(tmp_path, Surveyor())
    assert set(rows) == {("a", "w1"), ("a", "w2"), ("L2/a", None)}
    assert "L1/a" in rows["L2/a", None].error


def test_a_row_that_fails_has_its_reason_and_the_others_their_bounds(tmp_path):
    put(tmp_path, "a", "w1", "w2")
    put(tmp_path, "broken", "w1")
    (tmp_path / "unread").mkdir()
    (tmp_path / "unread" / "definition.json").write_text("{")
    rows, _ = rows_of(tmp_path, Surveyor(broken={"broken"}, lost={"w2"}))
    assert rows["a", "w1"].error is None
    assert rows["a", "w2"].error == "sizes clash"
    assert rows["broken", "w1"].error == "the reference does not load."
    assert "JSON" in rows["unread", None].error
    assert rows["broken", "w1"].bounds is None


def test_a_workload_that_crashes_the_analyst_costs_itself_alone(tmp_path):
    put(tmp_path, "a", "w1", "w2", "w3")
    rows, _ = rows_of(tmp_path, Surveyor(crashes={"w2"}))
    assert {uuid for (_, uuid), row in rows.items() if row.error} == {"w2"}
    assert "ended at w2" in rows["a", "w2"].error


def test_a_reference_that_fails_at_every_size_is_not_run_at_each(tmp_path):
    put(tmp_path, "broken", *(f"w{place}" for place in range(9)))
    analyst = Surveyor(broken={"broken"})
    rows, _ = rows_of(tmp_path, analyst)
    assert len(rows) == 9
    assert len(analyst.asked) == 2


def test_rows_that_are_there_are_not_made_again(tmp_path):
    put(tmp_path, "a", "w1", "w2")
    put(tmp_path, "b")
    (tmp_path / "unread").mkdir()
    (tmp_path / "unread" / "definition.json").write_text("{")
    analyst = Surveyor()
    done = frozenset({("a", "w1"), ("b", "w1"), ("unread", None)})
    rows, members = rows_of(tmp_path, analyst, done=done)
    assert set(rows) == {("a", "w2")}
    assert analyst.asked == [("a", ("w2",))]
    assert sum(member.n_kept for member in members) == 3


def test_what_this_machine_lacks_stops_the_run(tmp_path):
    put(tmp_path, "a")
    with pytest.raises(MissingTool):
        rows_of(tmp_path, Surveyor(lacking=True))


def test_a_row_is_strict_json(tmp_path):
    put(tmp_path, "a")
    rows, _ = rows_of(tmp_path, Surveyor())
    shown = json.loads(rows["a", "w1"].model_dump_json())
    assert set(shown) == {"problem", "workload", "bounds", "limiter", "tier", "error"}


def test_closing_lets_what_has_not_begun_go(tmp_path):
    class Slow(Surveyor):
        def survey(self, problem, device):
            if self.asked:
                closed.wait(10)
            return super().survey(problem, device)

    closed = threading.Event()
    for name in "abcdef":
        put(tmp_path, name)
    analyst = Slow()
    found = BoundSet(analyst, make_device()).rows(tmp_path, n_workers=1)
    next(found)
    found.close()
    assert analyst.n_cancelled == 1
    closed.set()
    # The second may have begun when the set was closed; the other four had not.
    assert len(analyst.asked) <= 2


def test_a_fault_of_ours_is_the_rows_reason_too(tmp_path):
    class Faulty(Surveyor):
        def survey(self, problem, device):
            raise KeyError("surprise")

    put(tmp_path, "a")
    rows, _ = rows_of(tmp_path, Faulty())
    assert "KeyError: 'surprise'" in rows["a", "w1"].error
