"""Errors to HTTP, in one place. No answer repeats what the caller sent."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.routing import compile_path

from services.api.errors import (
    CallerGone,
    HasherBusy,
    KeyNotFound,
    OutcomeUnknown,
    ReadModelUnavailable,
    Unauthenticated,
    UsageConflict,
    UsageUnconfirmed,
    WriteConflict,
)
from services.api.exhaustion import is_exhaustion
from services.api.http.middleware import EXHAUSTED, FAILED

logger = logging.getLogger(__name__)

RETRY_AFTER = {"Retry-After": "1"}
#: No standard status, as nobody reads it: what proxies count such requests under.
CLIENT_CLOSED_REQUEST = 499
STATUS = {
    Unauthenticated: 401,
    KeyNotFound: 404,
    WriteConflict: 409,
    UsageConflict: 409,
    ReadModelUnavailable: 503,
    CallerGone: CLIENT_CLOSED_REQUEST,
}
HEADERS: dict[type[Exception], dict[str, str]] = {
    Unauthenticated: {"WWW-Authenticate": "Bearer"},
    ReadModelUnavailable: RETRY_AFTER,
}


def register(app: FastAPI) -> None:
    """Teach the application every error of this service."""
    for error in STATUS:
        app.add_exception_handler(error, _known_error)
    app.add_exception_handler(HasherBusy, _hasher_busy)
    app.add_exception_handler(OutcomeUnknown, _outcome_unknown)
    app.add_exception_handler(UsageUnconfirmed, _usage_unconfirmed)
    app.add_exception_handler(RequestValidationError, _bad_request)
    app.add_exception_handler(HTTPStatus.METHOD_NOT_ALLOWED, _wrong_method)
    app.add_exception_handler(Exception, _unexpected)


async def _known_error(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, STATUS[type(error)], HEADERS.get(type(error)))


async def _hasher_busy(request: Request, error: Exception) -> JSONResponse:
    busy = cast(HasherBusy, error)
    return JSONResponse({"detail": str(busy)}, 503, {"Retry-After": str(busy.retry_after_seconds)})


async def _outcome_unknown(request: Request, error: Exception) -> JSONResponse:
    unknown = cast(OutcomeUnknown, error)
    return JSONResponse({"detail": str(unknown), "key_id": unknown.key_id}, 503, RETRY_AFTER)


async def _usage_unconfirmed(request: Request, error: Exception) -> JSONResponse:
    unconfirmed = cast(UsageUnconfirmed, error)
    answer = {"detail": str(unconfirmed), "idempotency_key": unconfirmed.event_id}
    return JSONResponse(answer, 503, RETRY_AFTER)


async def _bad_request(request: Request, error: Exception) -> JSONResponse:
    problems = cast(RequestValidationError, error).errors()
    return JSONResponse({"detail": "; ".join(map(_sentence, problems))}, 400)


async def _wrong_method(request: Request, error: Exception) -> JSONResponse:
    """`Allow` as documented: the router knows only the methods of the first route that fits the path."""
    paths, path = request.app.openapi()["paths"], request.url.path
    fitting = [template for template in paths if compile_path(template)[0].match(path)]
    # The fixed path before the one with a parameter; what is not described is a page to read.
    methods = paths[min(fitting, key=lambda template: template.count("{"))] if fitting else ["get"]
    allow = ", ".join(sorted(method.upper() for method in methods))
    return JSONResponse({"detail": "Method Not Allowed"}, HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": allow})


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    if is_exhaustion(error):
        return JSONResponse({"detail": EXHAUSTED}, HTTPStatus.SERVICE_UNAVAILABLE, RETRY_AFTER)
    return JSONResponse({"detail": FAILED}, HTTPStatus.INTERNAL_SERVER_ERROR)


def _sentence(problem: dict[str, object]) -> str:
    """`field: what is wrong with it`."""
    if problem["type"] == "json_invalid":
        return "body: not valid JSON"
    where = [str(part) for part in cast(tuple[object, ...], problem["loc"])]
    message = str(problem["msg"]).removeprefix("Value error, ")
    field = ".".join(where[1:])
    if not field:
        return message if ": " in message else f"{where[0]}: {message}"
    return f"{field}: {message}"
