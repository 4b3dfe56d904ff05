"""Owns how every failure leaves the REST door: an RFC 9457 problem document; the one map from the error tree."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from deep_agent.errors import (
    BudgetExceeded,
    Conflict,
    DeepAgentError,
    HarnessFailed,
    InvalidInput,
    MissingTool,
    ModelFailed,
    NotFound,
    ResourceExhausted,
)
from deep_agent.problem.value import FrozenValue

MEDIA_TYPE = "application/problem+json"
TYPES = "/problems/"
"""Base of the problem types; each one is a short page of this server."""

_log = logging.getLogger(__name__)

ERROR_MAP: Mapping[type[DeepAgentError], tuple[int, str]] = {
    InvalidInput: (422, "invalid-input"),
    NotFound: (404, "not-found"),
    Conflict: (409, "conflict"),
    BudgetExceeded: (402, "budget-exceeded"),
    ModelFailed: (502, "model-failed"),
    MissingTool: (503, "missing-tool"),
    ResourceExhausted: (507, "resource-exhausted"),
    HarnessFailed: (500, "harness-failed"),
    DeepAgentError: (500, "internal"),
}
"""Error class -> status and problem type; the nearest class in the hierarchy counts."""


class FieldError(FrozenValue):
    """One fault of a request."""

    pointer: str
    """JSON pointer into the body, or `#/query/...`, `#/path/...`, `#/header/...` outside it."""
    detail: str


class ProblemDocument(FrozenValue):
    """A failure, as RFC 9457 has it."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    """Path of the request."""
    remedy: str = ""
    """The next step, where there is one."""
    errors: tuple[FieldError, ...] = ()


def document(path: str, status: int, kind: str, detail: str) -> ProblemDocument:
    """Make a document of a plain failure at a request path."""
    return ProblemDocument(
        type=f"{TYPES}{kind}", title=HTTPStatus(status).phrase, status=status, detail=detail, instance=path
    )


def response(problem: ProblemDocument, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Make the response that carries a document."""
    return JSONResponse(
        problem.model_dump(mode="json"), status_code=problem.status, media_type=MEDIA_TYPE, headers=dict(headers or {})
    )


def install(app: FastAPI) -> None:
    """Answer every failure of an app with a problem document, those of the framework included."""
    app.add_exception_handler(DeepAgentError, _ours)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    # The door's last resort: a fault of ours must neither kill the connection nor show its insides.
    app.add_exception_handler(Exception, _unforeseen)


def _ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, DeepAgentError)
    status, kind = next(ERROR_MAP[found] for found in type(error).__mro__ if found in ERROR_MAP)
    if status >= 500:
        _log.warning("%s %s: %s", request.method, request.url.path, error)
    plain = document(request.url.path, status, kind, error.message)
    return response(plain.model_copy(update={"remedy": error.remedy}))


def _validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    faults = tuple(
        FieldError(pointer=_pointer(fault["loc"], body=fault["type"] != "json_invalid"), detail=fault["msg"])
        for fault in error.errors()
    )
    plain = document(request.url.path, 422, "invalid-input", "the request does not have the shape of this operation.")
    remedy = "Correct the fields that `errors` points to; /openapi.json describes them."
    return response(plain.model_copy(update={"errors": faults, "remedy": remedy}))


def _pointer(loc: Sequence[int | str], *, body: bool) -> str:
    """Write a location as a URI fragment: `#/budget/wall_s` in the body, `#/query/limit` elsewhere."""
    parts = [str(part).replace("~", "~0").replace("/", "~1") for part in loc]
    if parts and parts[0] == "body":
        parts = parts[1:] if body else []
    return "#" + "".join(f"/{part}" for part in parts)


def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    kind = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    return response(document(request.url.path, error.status_code, kind, str(error.detail)), error.headers)


def _unforeseen(request: Request, error: Exception) -> JSONResponse:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return response(document(request.url.path, 500, "internal", "the server failed; its log says why."))
