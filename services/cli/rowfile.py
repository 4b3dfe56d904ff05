"""Owns the file that rows of a set are written to: what it holds is kept, a torn last row is dropped; touches files."""

import fcntl
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from deep_agent.errors import Conflict, InvalidInput, ResourceExhausted
from deep_agent.problem.strict_json import is_torn


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
            Conflict: another process writes the file.
            InvalidInput: the path is a folder, or the file holds something else than such rows; it stays as it is.
            ResourceExhausted: the file cannot be written.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._open = self._path.open("a", encoding="utf-8")
            fcntl.flock(self._open, fcntl.LOCK_EX | fcntl.LOCK_NB)
            content = self._path.read_bytes()
            whole, self.kept = _rows(content, self._path)
            self._open.truncate(whole)
            if not content[:whole].endswith(b"\n") and whole:
                self._open.write("\n")
        except BlockingIOError as error:
            self._close()
            raise Conflict(
                f"{self._path}: another process writes it.", remedy="Wait for it, or name another --out."
            ) from error
        except IsADirectoryError as error:
            raise InvalidInput(f"--out {self._path}: is a folder.", remedy="Name a file.") from error
        except OSError as error:
            self._close()
            raise self._refused(error) from error
        except InvalidInput:
            self._close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._close()

    def _close(self) -> None:
        # Whatever was added lies on the disk already; what could not be written was told.
        with suppress(OSError):
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
    """Parse rows; gives the length up to which they reach, since a killed run may leave half a row at the end."""
    last = content[content.rfind(b"\n") + 1 :]
    whole = len(content) - len(last) * is_torn(last)
    rows = []
    for number, line in enumerate(content[:whole].splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InvalidInput(f"{path} line {number}: is not JSON.", remedy="Name another --out.") from error
        if not isinstance(row, dict) or "problem" not in row:
            raise InvalidInput(f"{path} line {number}: is no row of a set.", remedy="Name another --out.")
        rows.append(row)
    return whole, tuple(rows)
