from itertools import permutations

import pytest
from builders import make_evaluation, make_solution, make_workload_evaluation
from evolution_builders import make_version
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deep_agent.errors import InvalidInput, NotFound, ResourceExhausted
from deep_agent.evolution import gitfiles
from deep_agent.evolution.lineage import Lineage, lineage_path
from deep_agent.evolution.version import VersionRef, parse_message, render_message
from deep_agent.problem.solution import SourceFile


@pytest.fixture
def lineage(tmp_path):
    return Lineage(tmp_path / "search.git")


def commit(lineage, *versions):
    """Write versions as a search does, and give their rows."""
    rows = []
    for version in versions:
        parent = rows[-1].sha if rows else None
        sha = lineage.write(version.model_copy(update={"parent_sha": parent}))
        rows.append(VersionRef(seq=version.seq, kind=version.kind, sha=sha))
    return tuple(rows)


THREE = (
    make_version(0),
    make_version(1, kind="improve", content="// b\n"),
    make_version(2, kind="match", content="// c\n"),
)


def test_writing_a_version_twice_gives_one_commit(lineage, tmp_path):
    first = lineage.write(make_version())
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert lineage.write(make_version()) == first
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == files
    assert Lineage(tmp_path / "elsewhere.git").write(make_version()) == first


@pytest.mark.parametrize(
    "change", [{"node": "other"}, {"timestamp_s": 1}, {"seq": 4}, {"solution": make_solution("// else\n")}]
)
def test_a_different_version_is_a_different_commit(lineage, change):
    assert lineage.write(make_version().model_copy(update=change)) != lineage.write(make_version())


def test_a_version_without_a_row_cannot_be_seen(lineage):
    lineage.write(make_version())
    assert lineage.log() == ()
    assert lineage.champion() is None
    with pytest.raises(NotFound, match="refs/versions/0000"):
        lineage.read(0)


def test_refs_follow_the_rows_and_the_champion_is_no_match(lineage):
    rows = commit(lineage, *THREE)
    lineage.repair(rows)
    assert [(one.seq, one.kind, one.sha) for one in lineage.log()] == [(row.seq, row.kind, row.sha) for row in rows]
    assert lineage.champion().seq == 1
    assert [one.parent_sha for one in lineage.log()] == [None, rows[0].sha, rows[1].sha]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_repair_needs_no_order_and_undoes_any_other_state(lineage, order, tmp_path):
    rows = commit(lineage, *THREE)
    lineage.repair(rows)
    ref = tmp_path / "search.git" / "refs" / "versions"
    (ref / "0001").write_text(rows[0].sha + "\n")
    (ref / "0009").write_text(rows[0].sha + "\n")
    (tmp_path / "search.git" / "refs" / "heads" / "champion").unlink()
    lineage.repair([rows[index] for index in order])
    assert [one.sha for one in lineage.log()] == [row.sha for row in rows]
    assert lineage.champion().seq == 1


@pytest.mark.parametrize("crash_after", range(1, 20))
def test_a_crash_at_any_file_leaves_a_lineage_that_the_next_attempt_completes(tmp_path, monkeypatch, crash_after):
    lineage = Lineage(tmp_path / "search.git")
    clean = Lineage(tmp_path / "clean.git")
    rows = commit(clean, *THREE)
    puts, real = [], gitfiles.fsync

    def crash(handle):
        puts.append(handle)
        if len(puts) == crash_after:
            raise KeyboardInterrupt
        real(handle)

    monkeypatch.setattr(gitfiles, "fsync", crash)
    with pytest.raises(KeyboardInterrupt):
        lineage.repair(commit(lineage, *THREE))
    monkeypatch.undo()
    lineage.repair(commit(lineage, *THREE))
    assert lineage.log() == clean_log(clean, rows)


def clean_log(lineage, rows):
    lineage.repair(rows)
    return lineage.log()


def test_a_row_without_its_commit_is_named_and_the_other_refs_are_right(lineage):
    rows = commit(lineage, *THREE)
    lost = VersionRef(seq=3, kind="improve", sha="0" * 40)
    with pytest.raises(NotFound, match="refs/versions/0003"):
        lineage.repair([*rows, lost])
    assert len(lineage.log()) == 3


def test_a_version_reads_back_with_its_solution_and_trailers(lineage):
    version = make_version(node="job.goal.evolve.vary-0001")
    lineage.repair(commit(lineage, version))
    back = lineage.read(0)
    assert back.solution == version.solution
    assert (back.node, back.kind, back.sol_score) == (version.node, "seed", 0.667)
    assert [key for key, _ in back.trailers] == [
        *("Seq", "Kind", "Node", "Solution", "Device", "Speedup", "Speedup-CI", "Sol-Score"),
        "Evaluation",
    ]


def test_a_diff_shows_the_sources_alone(lineage):
    lineage.repair(commit(lineage, *THREE))
    diff = lineage.diff(1, 2)
    assert diff == "--- a/kernel.cpp\n+++ b/kernel.cpp\n@@ -1 +1 @@\n-// b\n+// c\n"
    assert lineage.diff(1, 1) == ""


def test_a_diff_shows_files_that_come_and_go(lineage):
    first = make_version(0, content="// no end of line")
    second = make_version(1, kind="improve", content="// no end of line")
    header = SourceFile(path="include/row.h", content="#pragma once\n")
    solution = second.solution.model_copy(update={"sources": (*second.solution.sources, header)})
    lineage.repair(commit(lineage, first, second.model_copy(update={"solution": solution})))
    assert "+++ b/include/row.h\n@@ -0,0 +1 @@\n+#pragma once\n" in lineage.diff(0, 1)


@pytest.mark.parametrize("path", [".git/config", "a/.GIT/x", ".", "kernel.cpp/inner.h"])
def test_a_source_that_git_cannot_hold_is_refused_by_name(lineage, path):
    solution = make_solution()
    odd = solution.model_copy(update={"sources": (*solution.sources, SourceFile(path=path, content=""))})
    with pytest.raises(InvalidInput, match="source"):
        lineage.write(make_version().model_copy(update={"solution": odd}))


def test_a_lineage_that_was_never_written_is_empty(lineage):
    lineage.repair(())
    assert lineage.log() == ()
    assert lineage.champion() is None
    with pytest.raises(NotFound, match="no lineage"):
        lineage.read(0)


def test_a_full_disk_is_named(lineage, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gitfiles, "fsync", full)
    with pytest.raises(ResourceExhausted, match="disk is full"):
        lineage.write(make_version())


def test_searches_never_share_a_path(tmp_path):
    names = ["job.goal.a", "job/goal/a", "../job", "job%2Fgoal%2Fa"]
    paths = {lineage_path(tmp_path, name) for name in names}
    assert len(paths) == len(names)
    assert {path.parent for path in paths} == {tmp_path}


@given(
    node=st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Z")), min_size=1).map(str.strip).filter(bool),
    uuids=st.lists(st.text("abc123-:", min_size=1), min_size=1, max_size=3),
)
@settings(suppress_health_check=[HealthCheck.filter_too_much])
def test_a_message_parses_back(node, uuids):
    version = make_version().model_copy(
        update={"node": node, "evaluation": make_evaluation(*(make_workload_evaluation(uuid) for uuid in uuids))}
    )
    message = render_message(version)
    back = parse_message(message, sha="a" * 40, parent_sha=None, solution=version.solution)
    assert back.node.split() == node.split()
    assert sum(key == "Evaluation" for key, _ in back.trailers) == len(uuids)
