"""Keeps the rows of a set: appends traces, and knows which ones an earlier run has written. Writes two files.

The public format has no place for what identifies a row beyond names, and drops keys it does not know; so a
second file beside the traces, `<traces>.rows.jsonl`, names each row's identity and the digest of its line. It is
written first: a run that ends in between leaves an identity without a line, which counts for nothing.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from deep_agent.errors import Conflict, ResourceExhausted
from deep_agent.problem.definition import Definition
from deep_agent.problem.strict_json import dump_line, is_torn, parse_lines, read_text
from deep_agent.problem.trace import EvaluationStatus, Trace
from deep_agent.problem.validation import validated
from deep_agent.problem.workload import Workload


@dataclass(frozen=True)
class RowKey:
    """What makes two rows the same: equal ones are judged once."""

    solution_hash: str
    workload: str
    """Uuid."""
    content: str
    """SHA-256 over definition, workload and device: a changed problem is judged again."""

    @classmethod
    def of(cls, solution_hash: str, definition: Definition, workload: Workload, device: str) -> Self:
        """Name a row."""
        told = "\0".join((definition.model_dump_json(), workload.model_dump_json(), device))
        return cls(solution_hash, workload.uuid, hashlib.sha256(told.encode()).hexdigest())


class Ledger:
    """The rows of one trace file, held by one process at a time."""

    def __init__(self, out: Path) -> None:
        """Name the files; `with` opens them."""
        self._out = out
        self._index_path = out.with_name(out.name + ".rows.jsonl")
        self._traces: IO[bytes] | None = None
        self._index: IO[bytes] | None = None
        self._statuses: dict[RowKey, EvaluationStatus] = {}

    @property
    def statuses(self) -> Mapping[RowKey, EvaluationStatus]:
        """Every identified row of the file with its status."""
        return self._statuses

    def __enter__(self) -> Self:
        """Open both files, cut off a row that was not finished, and read what is known.

        Raises:
            Conflict: another process writes this file.
            InvalidInput: a known line is no trace.
            ResourceExhausted: the files cannot be written.
        """
        try:
            self._out.parent.mkdir(parents=True, exist_ok=True)
            self._index = self._index_path.open("a+b")
            self._traces = self._out.open("a+b")
        except OSError as error:
            self._close()
            raise _unwritable(self._out, error) from error
        try:
            fcntl.flock(self._index, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._close()
            raise Conflict(
                f"{self._out}: another process writes it.", remedy="Wait for it, or name another file."
            ) from error
        for file in (self._index, self._traces):
            _cut_unfinished(file)
        self._statuses = self._read()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close both files."""
        self._close()

    def add(self, rows: Sequence[tuple[RowKey, Trace]]) -> None:
        """Append rows; they are on the disk when this returns.

        Raises:
            ResourceExhausted: the disk is full.
        """
        assert self._index is not None
        assert self._traces is not None
        lines = [dump_line(trace.model_dump(mode="json"), where=str(self._out)).encode() for _, trace in rows]
        named = [
            dump_line(
                {
                    "solution": key.solution_hash,
                    "workload": key.workload,
                    "content": key.content,
                    "line": _digest(line),
                },
                where=str(self._index_path),
            ).encode()
            for (key, _), line in zip(rows, lines, strict=True)
        ]
        try:
            for file, content in ((self._index, named), (self._traces, lines)):
                file.write(b"".join(content))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise _unwritable(self._out, error) from error
        for key, trace in rows:
            assert trace.evaluation is not None
            self._statuses[key] = trace.evaluation.status

    def _read(self) -> dict[RowKey, EvaluationStatus]:
        lines = {_digest(line): line for line in self._out.read_bytes().splitlines(keepends=True)}
        found = {}
        for _number, raw in parse_lines(read_text(self._index_path), where=str(self._index_path)):
            line = lines.get(str(raw.get("line"))) if isinstance(raw, dict) else None
            if line is None or not isinstance(raw, dict):
                continue
            trace = validated(Trace, json.loads(line), where=str(self._out))
            key = RowKey(str(raw.get("solution")), str(raw.get("workload")), str(raw.get("content")))
            if trace.evaluation is not None:
                found[key] = trace.evaluation.status
        return found

    def _close(self) -> None:
        for file in (self._index, self._traces):
            # What was added lies on the disk already; what could not be written was told.
            with suppress(OSError):
                if file is not None:
                    file.close()


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _cut_unfinished(file: IO[bytes]) -> None:
    """End the last line: whole ones stay, half an object goes. Nothing else that a file may hold is touched."""
    file.seek(0)
    content = file.read()
    last = content[content.rfind(b"\n") + 1 :]
    if is_torn(last):
        file.truncate(len(content) - len(last))
    file.seek(0, os.SEEK_END)
    if last and not is_torn(last):
        file.write(b"\n")
        file.flush()


def _unwritable(path: Path, error: OSError) -> ResourceExhausted:
    return ResourceExhausted(
        f"{path}: cannot be written ({error.strerror}).", remedy="Check the path, its permissions and the disk."
    )
