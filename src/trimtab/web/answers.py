"""From values and errors to HTTP answers. What a person can act on is told; what is our own fault is logged and not told."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from trimtab.core.model.errors import Forbidden, NotFound, Refused, TransientError, TrimtabError, UserError
from trimtab.core.model.views import ErrorView, ProblemView

RETRY_AFTER_SECONDS = 2
_STATUS: tuple[tuple[type[TrimtabError], int], ...] = (
    (NotFound, 404),
    (UserError, 400),
    (Forbidden, 403),
    (Refused, 409),
    (TransientError, 503),
)
_log = logging.getLogger(__name__)


def json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, headers, media_type="application/json")


def view(error: Exception) -> tuple[int, ErrorView]:
    """The status, and what to say."""
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return status, ErrorView(error.message, error.remedy, [ProblemView.of(problem) for problem in error.problems])
    _log.error("request failed", exc_info=error)
    return 500, ErrorView(
        "the server met an error of its own", "Look into the server's log, and please report what you find there"
    )


def failure(error: Exception) -> Response:
    status, body = view(error)
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status == 503 else None
    return json(body, status, headers)


def failed(_: Request, error: Exception) -> Response:
    """For starlette: an exception that an endpoint let out."""
    return failure(error)


def not_routed(request: Request, error: Exception) -> Response:
    """For starlette: no such route (404), or not with this method (405)."""
    assert isinstance(error, HTTPException)
    words = {404: f"there is no {request.url.path}", 405: f"{request.method} is not allowed on {request.url.path}"}
    message = words.get(error.status_code, error.detail)
    remedy = "docs/reference/api.md lists every route"
    return json(ErrorView(message, remedy), error.status_code, dict(error.headers or {}))
