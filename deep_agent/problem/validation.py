"""Owns turning raw JSON into records: errors in words, dropped keys and guessed variants logged."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_core import ErrorDetails

from deep_agent.errors import InvalidInput
from deep_agent.problem.value import PublicRecord

_log = logging.getLogger(__name__)

Record = TypeVar("Record", bound=PublicRecord)
MAX_SENTENCES = 5
"""Faults told at once; more would bury the first."""
_REMEDIES = {
    "missing": "Add it.",
    "string_too_short": "Give it a value.",
    "string_type": "Write a string.",
    "int_type": "Write a whole number, unquoted.",
    "float_type": "Write a number, unquoted.",
    "bool_type": "Write true or false.",
    "dict_type": "Write an object in braces.",
    "model_type": "Write an object in braces.",
    "model_attributes_type": "Write an object in braces.",
    "tuple_type": "Write a list in brackets.",
    "too_short": "Add at least one entry.",
}


def validated(record: type[Record], raw: JsonValue, *, where: str) -> Record:
    """Validate one record.

    Args:
        record: the type to build.
        raw: parsed JSON.
        where: file, and line in a JSONL file, for the message.

    Raises:
        InvalidInput: one sentence for each fault, at most MAX_SENTENCES.
    """
    value = _validate(record, raw, where=where)
    for remark in _remarks(raw, value, path=""):
        _log.warning("%s: %s", where, remark)
    return value


def validated_lines(record: type[Record], lines: Iterable[tuple[int, JsonValue]], *, where: str) -> tuple[Record, ...]:
    """Validate numbered JSONL values; a remark that holds for many lines is logged once.

    Raises:
        InvalidInput: as `validated`, naming the line.
    """
    values: list[Record] = []
    seen: dict[str, list[int]] = defaultdict(list)
    for number, raw in lines:
        value = _validate(record, raw, where=f"{where} line {number}")
        values.append(value)
        for remark in set(_remarks(raw, value, path="")):
            seen[remark].append(number)
    for remark, numbers in sorted(seen.items()):
        _log.warning("%s: %s (%d lines, first %d)", where, remark, len(numbers), numbers[0])
    return tuple(values)


def explain(error: ValidationError, *, where: str) -> InvalidInput:
    """Turn a validation error into one readable error, a sentence for each fault."""
    faults = error.errors(include_url=False, include_context=False)
    sentences = [_sentence(fault) for fault in faults[:MAX_SENTENCES]]
    if len(faults) > MAX_SENTENCES:
        sentences.append(f"{len(faults) - MAX_SENTENCES} more faults follow.")
    return InvalidInput(f"{where}: {' '.join(sentences)}", remedy="Correct the fields named and read again.")


def _validate(record: type[Record], raw: JsonValue, *, where: str) -> Record:
    try:
        return record.model_validate(raw)
    except ValidationError as error:
        raise explain(error, where=where) from error


def _sentence(fault: ErrorDetails) -> str:
    path = ".".join(str(part) for part in fault["loc"])
    message = fault["msg"].removeprefix("Value error, ").removesuffix(".")
    remedy = _REMEDIES.get(fault["type"], "")
    given = fault["input"]
    shown = f" (found {given!r})" if isinstance(given, str | int | float | bool) and len(repr(given)) <= 60 else ""
    sentence = f"{path}: {message}{shown}." if path else f"{message}."
    return f"{sentence} {remedy}".strip()


def _remarks(raw: JsonValue, value: object, *, path: str) -> Iterator[str]:
    """Compare what was written with what was read: keys dropped, variants guessed."""
    if isinstance(value, BaseModel) and isinstance(raw, Mapping):
        yield from _record_remarks(raw, value, path=path)
    elif isinstance(value, Mapping) and isinstance(raw, Mapping):
        for key, inner in raw.items():
            yield from _remarks(inner, value.get(key), path=_below(path, key))
    elif isinstance(value, tuple) and isinstance(raw, list):
        for inner, part in zip(raw, value, strict=True):
            yield from _remarks(inner, part, path=f"{path}[]")


def _record_remarks(raw: Mapping[str, JsonValue], value: BaseModel, *, path: str) -> Iterator[str]:
    fields = type(value).model_fields
    if "type" in fields and "type" not in raw:
        yield f"{path!r} has no type and is read as {getattr(value, 'type', '?')!r}"
    for key, inner in raw.items():
        here = _below(path, key)
        if key in fields:
            yield from _remarks(inner, getattr(value, key), path=here)
        else:
            yield f"unknown key {here!r} is dropped"


def _below(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
