"""Owns the lineage of one search as a bare git repository; touches files; does not decide what enters it.

Write order: the commit object first (`write`), then the database row, which is the authority, then the refs
(`repair`, from the rows). A crash between two of them leaves at most an unreferenced object or stale refs,
and both are mended by the next `repair`. Equal versions give equal commits, so writing twice is free.
"""

import difflib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from dulwich.objects import Blob, Commit, ObjectID, ShaFile, Tree
from dulwich.refs import Ref
from dulwich.repo import Repo

from deep_agent.errors import InvalidInput, NotFound
from deep_agent.evolution.gitfiles import put_atomically, put_directory
from deep_agent.evolution.version import CommittedVersion, Version, VersionRef, parse_message, render_message
from deep_agent.problem.solution import Solution

AUTHOR = b"Deep Agent <deep-agent@localhost>"
"""One fixed author: who ran a search is no part of a version's identity."""
CHAMPION_REF = b"refs/heads/champion"
VERSIONS = b"refs/versions/"
SOLUTION_FILE = b"solution.json"
SOURCES = b"sources"
_FILE_MODE, _TREE_MODE = 0o100644, 0o040000


def lineage_path(lineages: Path, search: str) -> Path:
    """Where the lineage of a search lies among all lineages; every character of the name is safe in a path."""
    return lineages / f"{quote(search, safe='')}.git"


_Folder = dict[bytes, "bytes | _Folder"]


class Lineage:
    """The committed versions of one search.

    Several processes may hold one at a time: every file is put in place by a rename, so no lock can be left
    behind by a killed process, and writers of the same version write the same bytes.
    """

    def __init__(self, path: Path) -> None:
        """Name the repository's directory; it is made by the first `write`."""
        self._path = path

    def write(self, version: Version) -> str:
        """Store a version's commit with its tree, and return its sha (hex); no ref moves.

        Idempotent: the sha depends on nothing but the version.

        Raises:
            InvalidInput: a source's path cannot be stored in git.
            ResourceExhausted: the disk is full.
        """
        if not self._path.exists():
            put_directory(self._path, lambda empty: Repo.init_bare(empty, default_branch=b"champion").close())
        commit = Commit()
        commit.tree = self._put_tree(_folder_of(version.solution))
        commit.parents = [ObjectID(version.parent_sha.encode())] if version.parent_sha else []
        commit.author = commit.committer = AUTHOR
        commit.author_time = commit.commit_time = version.timestamp_s
        commit.author_timezone = commit.commit_timezone = 0
        commit.encoding = b"UTF-8"
        commit.message = render_message(version).encode()
        return self._put(commit).decode()

    def repair(self, rows: Sequence[VersionRef]) -> None:
        """Make the refs say what the database rows say: one ref a version, and the champion.

        Refs without a row vanish.

        Raises:
            NotFound: a row's commit is not in the repository; all other refs are right nevertheless.
        """
        wanted = {_version_ref(row.seq): row.sha for row in rows}
        champions = [row for row in rows if row.kind != "match"]
        if champions:
            wanted[CHAMPION_REF] = max(champions, key=lambda row: row.seq).sha
        if not wanted and not self._path.exists():
            return
        with self._repo() as repo:
            missing = {ref for ref, sha in wanted.items() if ObjectID(sha.encode()) not in repo.object_store}
            present = {
                bytes(ref): repo.refs[ref].decode()
                for ref in repo.refs.allkeys()
                if ref.startswith((VERSIONS, CHAMPION_REF))
            }
            for ref in present.keys() - wanted.keys():
                repo.refs.remove_if_equals(Ref(ref), None)
        for ref in {ref for ref, sha in wanted.items() if present.get(ref) != sha} - missing:
            put_atomically(self._path / ref.decode(), wanted[ref].encode() + b"\n", scratch=self._path)
        if missing:
            names = ", ".join(sorted(ref.decode() for ref in missing))
            raise NotFound(
                f"the lineage {self._path} lacks the commits of {names}.",
                remedy="Write those versions again from their stored solutions, then repair once more.",
            )

    def read(self, seq: int) -> CommittedVersion:
        """Read one version back; raises NotFound when no ref names it."""
        with self._repo() as repo:
            return self._read(repo, _version_ref(seq))

    def champion(self) -> CommittedVersion | None:
        """The champion, or None while the search has none."""
        if not self._path.exists():
            return None
        with self._repo() as repo:
            return self._read(repo, CHAMPION_REF) if Ref(CHAMPION_REF) in repo.refs else None

    def log(self) -> tuple[CommittedVersion, ...]:
        """All versions by rising seq; empty before the first."""
        if not self._path.exists():
            return ()
        with self._repo() as repo:
            refs = sorted(bytes(ref) for ref in repo.refs.allkeys() if ref.startswith(VERSIONS))
            return tuple(self._read(repo, ref) for ref in refs)

    def diff(self, older: int, newer: int) -> str:
        """The change of sources from one version to another as unified diff; empty when they are equal."""
        before, after = self.read(older).solution, self.read(newer).solution
        old = {source.path: source.content for source in before.sources}
        new = {source.path: source.content for source in after.sources}
        return "".join(
            line
            for path in sorted(old.keys() | new.keys())
            for line in _file_diff(path, old.get(path, ""), new.get(path, ""))
        )

    def _repo(self) -> Repo:
        if not self._path.exists():
            raise NotFound(f"there is no lineage at {self._path}.", remedy="Write its first version.")
        return Repo(str(self._path))

    def _read(self, repo: Repo, ref: bytes) -> CommittedVersion:
        if Ref(ref) not in repo.refs:
            raise NotFound(f"the lineage {self._path} has no {ref.decode()}.", remedy="List its versions with `log`.")
        sha = repo.refs[Ref(ref)]
        commit = repo[sha]
        assert isinstance(commit, Commit)
        _, blob_sha = repo[commit.tree][SOLUTION_FILE]  # type: ignore[index]
        solution = Solution.model_validate_json(repo[blob_sha].as_raw_string())
        return parse_message(
            commit.message.decode(),
            sha=sha.decode(),
            parent_sha=commit.parents[0].decode() if commit.parents else None,
            solution=solution,
        )

    def _put_tree(self, folder: _Folder) -> ObjectID:
        tree = Tree()
        for name, inside in folder.items():
            if isinstance(inside, bytes):
                tree.add(name, _FILE_MODE, self._put(Blob.from_string(inside)))
            else:
                tree.add(name, _TREE_MODE, self._put_tree(inside))
        return self._put(tree)

    def _put(self, thing: ShaFile) -> ObjectID:
        """Store a loose object by rename; the library's own writer leaves a lock behind when it is killed."""
        sha = thing.id.decode()
        path = self._path / "objects" / sha[:2] / sha[2:]
        if not path.exists():
            put_atomically(path, thing.as_legacy_object(), scratch=self._path)
        return thing.id


def _version_ref(seq: int) -> bytes:
    return VERSIONS + f"{seq:04d}".encode()


def _folder_of(solution: Solution) -> _Folder:
    """Lay out the tree of a version: the whole solution as one loadable file, and its sources to read and compare."""
    sources: _Folder = {}
    for source in solution.sources:
        _place(sources, source.path, source.content.encode())
    whole = json.dumps(solution.model_dump(mode="json"), indent=2, sort_keys=True) + "\n"
    return {SOLUTION_FILE: whole.encode(), SOURCES: sources}


def _place(folder: _Folder, path: str, content: bytes) -> None:
    *parents, name = [os.fsencode(part) for part in path.split("/") if part not in {"", "."}] or [b""]
    for parent in parents:
        inside = folder.setdefault(parent, {})
        if isinstance(inside, bytes):
            raise InvalidInput(f"source {path!r} lies under another source.", remedy="Rename one of them.")
        folder = inside
    if not name or name in folder or b".git" in {part.lower() for part in (*parents, name)}:
        raise InvalidInput(f"source {path!r} cannot be a file of a git tree.", remedy="Rename it.")
    folder[name] = content


def _file_diff(path: str, old: str, new: str) -> Iterator[str]:
    lines = difflib.unified_diff(old.splitlines(keepends=True), new.splitlines(keepends=True), f"a/{path}", f"b/{path}")
    for line in lines:
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
