"""The lineage before the real git, and before processes that are killed."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from builders import make_evaluation, make_solution

from deep_agent.evolution.lineage import Lineage
from deep_agent.evolution.version import Version, VersionRef

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("git") is None, reason="the git program is not installed"),
]

N_VERSIONS = 6


def make_versions() -> list[Version]:
    return [
        Version(
            seq=seq,
            kind="seed" if seq == 0 else "improve",
            node=f"job.goal.evolve.vary-{seq:04d}",
            parent_sha=None,
            solution=make_solution(f"// version {seq}\n" * 50),
            evaluation=make_evaluation(),
            sol_score=0.667,
            timestamp_s=1_800_000_000 + seq,
        )
        for seq in range(N_VERSIONS)
    ]


def write_all(path: Path) -> list[VersionRef]:
    """Write the versions one after another and set the refs after each, as a search does."""
    lineage, rows = Lineage(path), []
    for version in make_versions():
        sha = lineage.write(version.model_copy(update={"parent_sha": rows[-1].sha if rows else None}))
        rows.append(VersionRef(seq=version.seq, kind=version.kind, sha=sha))
        lineage.repair(rows)
    return rows


def git(path: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "--git-dir", str(path), *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(path), "GIT_CONFIG_NOSYSTEM": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_git_finds_nothing_to_complain_of(tmp_path):
    write_all(tmp_path / "search.git")
    assert git(tmp_path / "search.git", "fsck", "--full", "--strict") == ""


def test_git_log_tells_the_story_of_the_champion(tmp_path):
    rows = write_all(tmp_path / "search.git")
    assert git(tmp_path / "search.git", "log", "--format=%H").split() == [row.sha for row in reversed(rows)]
    seqs = git(tmp_path / "search.git", "log", "--reverse", "--format=%(trailers:key=Seq,valueonly,separator=%x2C)")
    assert seqs.split() == [str(seq) for seq in range(N_VERSIONS)]
    subject = git(tmp_path / "search.git", "log", "-1", "--format=%s").strip()
    assert subject == "v0005 improve: 1.500 times as fast as the library"


def test_git_shows_the_sources_and_a_loadable_solution(tmp_path):
    write_all(tmp_path / "search.git")
    assert git(tmp_path / "search.git", "show", "refs/versions/0003:sources/kernel.cpp").startswith("// version 3\n")
    names = git(tmp_path / "search.git", "ls-tree", "-r", "--name-only", "champion").split()
    assert names == ["solution.json", "sources/kernel.cpp"]


def test_a_lineage_that_git_packed_still_reads_and_grows(tmp_path):
    rows = write_all(tmp_path / "search.git")
    git(tmp_path / "search.git", "gc", "--quiet", "--prune=now")
    assert [one.sha for one in Lineage(tmp_path / "search.git").log()] == [row.sha for row in rows]
    assert write_all(tmp_path / "search.git") == rows


WRITER = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from test_evolution_git import write_all
print("ready", flush=True)
write_all(Path(sys.argv[1]))
"""


def test_writers_killed_at_any_moment_leave_a_lineage_that_the_next_one_completes(tmp_path):
    path = tmp_path / "search.git"
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
    for delay_s in (0.0, 0.005, 0.01, 0.02, 0.04):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path), *folders], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        time.sleep(delay_s)
        writer.send_signal(signal.SIGKILL)
        writer.wait(10)
        writer.stdout.close()
    rows = write_all(path)
    assert [one.sha for one in Lineage(path).log()] == [row.sha for row in rows]
    assert rows == write_all(tmp_path / "clean.git")
    assert "error" not in git(path, "fsck", "--full", "--strict")
