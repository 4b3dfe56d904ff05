"""Judging a set: what is kept, what is judged again, and that no solution can end the whole."""

import json
from dataclasses import dataclass, field

import pytest
from builders import (
    make_definition,
    make_device,
    make_evaluation,
    make_python_solution,
    make_solution,
    make_workload,
    make_workload_evaluation,
)

from deep_agent.errors import Conflict, HarnessFailed, InvalidInput
from deep_agent.executor.sets.judging import judge_set
from deep_agent.executor.sets.ledger import Ledger
from deep_agent.executor.sets.values import SetRequest
from deep_agent.problem.evaluation import Build
from deep_agent.problem.readers import read_traces
from deep_agent.problem.trace import EvaluationStatus


class SteadyClock:
    def now_s(self) -> float:
        return 1_800_000_000.0


@dataclass
class SetJudge:
    """Passes everything unless told otherwise for a name."""

    answers: dict = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    built: list[str] = field(default_factory=list)

    def build(self, solution, device) -> Build:
        self.built.append(solution.name)
        raise HarnessFailed("builds ahead are a favour: what they run into does not matter")

    def evaluate(self, request, progress=None):
        self.asked.append(request.solution.name)
        answer = self.answers.get(request.solution.name)
        if isinstance(answer, Exception):
            raise answer
        return answer or make_evaluation(
            *(make_workload_evaluation(uuid) for uuid in ("w1", "w2")),
            solution_hash=request.solution.content_hash,
            profile="gate",
        )


@pytest.fixture
def folder(tmp_path):
    problem = tmp_path / "problems/L1/double"
    problem.mkdir(parents=True)
    (problem / "definition.json").write_text(make_definition().model_dump_json())
    write_workloads(tmp_path, 8)
    (tmp_path / "solutions").mkdir()
    for name in ("a", "b", "c"):
        put(tmp_path, make_solution(f"// {name}\n", name=name))
    return tmp_path


def write_workloads(folder, rows: int) -> None:
    lines = [make_workload("w1", rows=rows), make_workload("w2", rows=33)]
    path = folder / "problems/L1/double/workload.jsonl"
    path.write_text("".join(line.model_dump_json() + "\n" for line in lines))


def put(folder, solution) -> None:
    (folder / f"solutions/solution-{solution.name}.json").write_text(solution.model_dump_json())


def judged(folder, judge, bounds=(), **changes):
    fields = {"problems": folder / "problems", "solutions": folder / "solutions", "out": folder / "t.jsonl"}
    request = SetRequest(**(fields | {"device": "cpu"} | changes))
    return judge_set(request, make_device(), judge, SteadyClock(), lambda problem: bounds)


def rows(folder) -> list[tuple[str, str, str]]:
    return [(one.solution, one.workload.uuid, one.evaluation.status) for one in read_traces(folder / "t.jsonl")]


def test_native_solutions_are_built_ahead_and_every_solution_is_judged_once(folder):
    put(folder, make_python_solution(name="p"))
    judge = SetJudge()
    report = judged(folder, judge)
    assert (sorted(judge.built), judge.asked) == (["a", "b", "c"], ["a", "b", "c", "p"])
    assert (report.n_written, report.n_kept, report.passed) == (8, 0, True)
    again = SetJudge()
    report = judged(folder, again)
    assert (again.asked, again.built) == ([], [])
    assert (report.n_written, report.n_kept, report.passed) == (0, 8, True)


@pytest.mark.parametrize("mine", ["my notes", '{"mine": 1}'])
def test_what_else_a_file_holds_stays_and_a_row_whose_line_has_no_end_is_kept(folder, mine):
    (folder / "t.jsonl").write_text(mine)
    judged(folder, SetJudge())
    first, *lines = (folder / "t.jsonl").read_text().splitlines()
    assert (first, len(lines)) == (mine, 6)
    (folder / "t.jsonl").write_text("\n".join([mine, *lines]))
    again = SetJudge()
    report = judged(folder, again)
    assert (again.asked, report.n_written, report.n_kept) == ([], 0, 6)
    assert (folder / "t.jsonl").read_text().splitlines() == [mine, *lines]


def test_a_judge_that_breaks_on_one_solution_judges_the_others_and_that_one_the_next_time(folder):
    judge = SetJudge({"b": HarnessFailed("the judge's program ended.")})
    report = judged(folder, judge)
    assert [one.place.rpartition("-")[2] for one in report.refused] == ["b.json"]
    assert not report.passed
    assert {name for name, _, _ in rows(folder)} == {"a", "c"}
    mended = SetJudge()
    assert judged(folder, mended).passed
    assert mended.asked == ["b"]


def test_a_reference_that_fails_is_a_status_and_a_workload_too_large_is_a_reason(folder):
    why = "definition 'double': the reference raises at w1: ValueError: no"
    judge = SetJudge({"a": InvalidInput(why, remedy="Mend it."), "b": InvalidInput("workload 'w1' needs 99 GiB.")})
    report = judged(folder, judge)
    found = read_traces(folder / "t.jsonl")
    assert {one.evaluation.log for one in found if one.solution == "a"} == {f"{why} Mend it."}
    assert report.statuses == {EvaluationStatus.INVALID_REFERENCE: 2, EvaluationStatus.PASSED: 2}
    assert [one.reason for one in report.refused] == ["not judged: workload 'w1' needs 99 GiB."]


def test_a_workload_that_was_not_reached_says_so_and_pretends_no_error(folder):
    failed = {"candidate": None, "baseline": None, "speedup": None, "noise": None, "score": None}
    numerical = EvaluationStatus.INCORRECT_NUMERICAL
    answer = make_evaluation(
        make_workload_evaluation("w1", status=numerical, message="off", **failed),
        make_workload_evaluation("w2", status=numerical, message="not run: w1 failed", correctness=None, **failed),
        status=numerical,
    )
    judged(folder, SetJudge({"a": answer}))
    first, second = (one.evaluation for one in read_traces(folder / "t.jsonl") if one.solution == "a")
    assert "examined" not in first.correctness.extra
    assert second.correctness.extra["examined"] is False
    assert second.log == "not run: w1 failed"


def test_a_changed_workload_is_judged_again_and_an_unchanged_one_keeps_its_row(folder):
    judged(folder, SetJudge())
    write_workloads(folder, 9)
    judge = SetJudge()
    report = judged(folder, judge)
    assert judge.asked == ["a", "b", "c"]
    assert (report.n_written, report.n_kept) == (3, 3)
    assert len(rows(folder)) == 9


def test_a_row_whose_line_was_lost_or_taken_out_is_judged_again(folder):
    judged(folder, SetJudge())
    lines = (folder / "t.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "t.jsonl").write_bytes(b"".join(lines[:-1]) + lines[-1][:40])
    judge = SetJudge()
    report = judged(folder, judge)
    assert judge.asked == ["c"]
    assert (report.n_written, report.n_kept) == (1, 5)
    assert len(set(rows(folder))) == len(rows(folder)) == 6


def test_lines_of_another_origin_stay_and_do_not_count(folder):
    foreign = make_workload("elsewhere").model_dump(mode="json")
    line = json.dumps({"definition": "other", "workload": foreign, "solution": None, "evaluation": None}) + "\n"
    (folder / "t.jsonl").write_text(line)
    report = judged(folder, SetJudge())
    assert (report.n_written, report.n_kept) == (6, 0)
    assert (folder / "t.jsonl").read_text().startswith(line)


def test_two_runs_cannot_write_one_file(folder):
    with Ledger(folder / "t.jsonl"), pytest.raises(Conflict) as caught:
        judged(folder, SetJudge())
    assert "another process" in caught.value.message


def test_a_problem_that_cannot_be_read_takes_only_its_own_solutions_out(folder):
    for name, text in (("half", "{"), ("copy", make_definition().model_dump_json())):
        broken = folder / "problems/L2" / name
        broken.mkdir(parents=True)
        (broken / "definition.json").write_text(text)
        (broken / "workload.jsonl").write_text(make_workload().model_dump_json() + "\n")
    put(folder, make_solution("// half\n", name="h", definition="half"))
    report = judged(folder, SetJudge())
    reasons = {one.place.rpartition("/")[2]: one.reason for one in report.refused}
    assert set(reasons) == {"half", "copy", "solution-h.json"}
    assert "its problem could not be read" in reasons["solution-h.json"]
    assert report.n_written == 6


def test_a_uuid_used_twice_makes_rows_mistakable_and_takes_the_problem_out(folder):
    path = folder / "problems/L1/double/workload.jsonl"
    path.write_text((make_workload("w1").model_dump_json() + "\n") * 2)
    judge = SetJudge()
    report = judged(folder, judge)
    assert (judge.asked, report.n_written) == ([], 0)
    assert all("'w1' is used twice" in one.reason for one in report.refused)
    assert len(report.refused) == 4


@pytest.mark.parametrize("text", ['"just text"', "[]", "{}", '{"name": "\\ud800"}', "[" * 100_000, "\x00"])
def test_no_file_called_solution_can_end_the_whole(folder, text):
    (folder / "solutions/solution-odd.json").write_text(text)
    report = judged(folder, SetJudge())
    assert [one.place.rpartition("/")[2] for one in report.refused] == ["solution-odd.json"]
    assert report.n_written == 6


@pytest.mark.parametrize("empty", ["problems", "solutions"])
def test_a_set_without_problems_or_solutions_is_refused(folder, tmp_path, empty):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InvalidInput, match="holds no"):
        judged(folder, SetJudge(), **{empty: tmp_path / "nothing"})
