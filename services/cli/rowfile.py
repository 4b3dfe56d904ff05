"""Owns the file that rows of a set are written to: what it holds is kept, a torn last line is dropped; touches files."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from deep_agent.errors import InvalidInput, ResourceExhausted


class RowFile:
    """One JSON object a line, added to; use as a context."""

    def __init__(self, path: Path) -> None:
        """Name the file; it is opened, and mended, when the context opens."""
        self._path = path
        self._open: TextIO | None = None
        self.kept: tuple[dict[str, object], ...] = ()

    def __enter__(self) -> Self:
        """Read the rows that are there and get ready to add.

        Raises:
            InvalidInput: the path is a folder, or a line before the last is no JSON object.
            ResourceExhausted: the file cannot be written.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            content = self._path.read_bytes() if self._path.exists() else b""
            whole, self.kept = _rows(content, self._path)
            with self._path.open("ab") as standing:
                standing.truncate(whole)
            self._open = self._path.open("a", encoding="utf-8")
        except IsADirectoryError as error:
            raise InvalidInput(f"--out {self._path}: is a folder.", remedy="Name a file.") from error
        except OSError as error:
            raise self._refused(error) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._open is not None:
            self._open.close()

    def add(self, rows: Iterable[dict[str, object]]) -> None:
        """Append rows and hand them to the disk together; raises ResourceExhausted."""
        assert self._open is not None
        text = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
        try:
            self._open.write(text)
            self._open.flush()
            os.fsync(self._open.fileno())
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> ResourceExhausted:
        return ResourceExhausted(
            f"{self._path} cannot be written: {error.strerror}.", remedy="Free disk space, or name another --out."
        )


def _rows(content: bytes, path: Path) -> tuple[int, tuple[dict[str, object], ...]]:
    """Parse whole lines; gives the length up to which they reach, since a killed run may leave half a line."""
    whole = content.rfind(b"\n") + 1
    rows = []
    for number, line in enumerate(content[:whole].splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InvalidInput(f"{path} line {number}: is not JSON.", remedy="Name another --out.") from error
        if not isinstance(row, dict):
            raise InvalidInput(f"{path} line {number}: is no object.", remedy="Name another --out.")
        rows.append(row)
    return whole, tuple(rows)
