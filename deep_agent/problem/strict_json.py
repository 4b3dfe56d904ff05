"""Owns strict JSON in and out of files: UTF-8, no NaN or infinities; does not know the records."""

import json
from pathlib import Path

from pydantic import JsonValue

from deep_agent.errors import InvalidInput

MAX_FILE_BYTES = 256 * 2**20
"""Largest file read; the largest published problem is a few megabytes."""


def read_text(path: Path) -> str:
    """Read a UTF-8 file.

    Raises:
        InvalidInput: the file is missing, unreadable, larger than MAX_FILE_BYTES, or not UTF-8.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InvalidInput(f"{path}: is larger than {MAX_FILE_BYTES >> 20} MiB.", remedy="Split it.")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: is not UTF-8 (byte {error.start}).", remedy="Save it as UTF-8.") from error
    except OSError as error:
        raise InvalidInput(
            f"{path}: cannot be read ({error.strerror}).", remedy="Check the path and its permissions."
        ) from error


def parse_json(text: str, *, where: str) -> JsonValue:
    """Parse one strict JSON text.

    Args:
        text: the JSON.
        where: file and line, for the message.

    Raises:
        InvalidInput: not JSON, or holds NaN or an infinity.
    """
    try:
        parsed: JsonValue = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        at = f"line {error.lineno} column {error.colno}"
        raise InvalidInput(f"{where}: is not JSON: {error.msg} at {at}.", remedy="Correct it there.") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(
            f"{where}: is not strict JSON: {error}.", remedy="Use plain numbers, less nested."
        ) from error
    return parsed


def parse_lines(text: str, *, where: str) -> tuple[tuple[int, JsonValue], ...]:
    """Parse JSONL into (line number, value) pairs; lines count from 1, blank ones are skipped.

    Raises:
        InvalidInput: as `parse_json`, naming the line.
    """
    # Only a line feed ends a line of JSONL; str.splitlines would also cut at U+2028 inside a string.
    return tuple(
        (number, parse_json(line, where=f"{where} line {number}"))
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    )


def dump_line(record: JsonValue, *, where: str) -> str:
    """Write one strict JSON line, newline included.

    Raises:
        InvalidInput: the record holds NaN or an infinity.
    """
    try:
        return json.dumps(record, allow_nan=False, ensure_ascii=False) + "\n"
    except ValueError as error:
        raise InvalidInput(
            f"{where}: holds a number JSON cannot say ({error}).", remedy="Write 0.0 or null and say why in the log."
        ) from error


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def is_torn(line: bytes) -> bool:
    """Whether a file's last line is the first part of an object, as a writer that was killed leaves it."""
    if not line or not b'{"'.startswith(line[:2]):
        return False
    try:
        json.loads(line)
    except ValueError:
        return True
    return False
