"""What every request and every answer passes: a limit on bodies, and the security headers."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from http import HTTPStatus

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from events.process_logs import REQUEST_ID
from services.api.exhaustion import is_exhaustion
from services.api.http.request_ids import HEADER as REQUEST_ID_HEADER
from services.api.http.request_ids import RequestIds, given_in
from services.api.http.responses import Header
from services.api.latency import place_of
from services.api.metrics import Metrics

logger = logging.getLogger(__name__)

#: Validation is too frequent for a log and probes of /health too dull; both are counted in the metrics.
LOGGED_ROUTES = "/api/"

MAX_BODY_BYTES = 64 * 1024

TOO_LARGE = "Request body too large"
FAILED = "Internal server error"
EXHAUSTED = "Out of resources for the moment, try again"
RETRY_SOON = (b"retry-after", b"1")

SECURITY_HEADERS = [
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"strict-transport-security", b"max-age=31536000"),
    (b"x-xss-protection", b"1; mode=block"),
    (b"referrer-policy", b"strict-origin-when-cross-origin"),
]

#: Verdicts, secrets and sums are for whoever asks, once.
NO_STORE = (b"cache-control", b"no-store")
#: Of an answer that does not pass the middleware.
ANSWER_HEADERS = [NO_STORE, *SECURITY_HEADERS]

#: The page at /docs runs scripts: from files of this origin alone, since admins type their tokens there.
DOCS_PATH = "/docs"
DOCS_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; "
    b"img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
DOCS_HEADERS = [(b"content-security-policy", DOCS_POLICY), *SECURITY_HEADERS[1:]]


class BodyTooLarge(Exception):
    """The request's body is over the limit."""


class HttpMiddleware:
    """Wraps the application; the outermost layer, so that errors get their headers too."""

    def __init__(self, app: ASGIApp, metrics: Metrics, request_ids: RequestIds | None = None) -> None:
        self._app = app
        self._metrics = metrics
        self._request_ids = request_ids or RequestIds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope.get("method") == "HEAD":
            # The server knows that no body is to be sent; whatever answers GET need not know about HEAD.
            scope = {**scope, "method": "GET"}
        headers = DOCS_HEADERS if scope["path"] == DOCS_PATH else SECURITY_HEADERS
        request_id = self._request_ids.of(given_in(scope["headers"]))
        REQUEST_ID.set(request_id.decode())
        limit = _BodyLimit(receive)
        has_started, status = False, 0
        began = time.perf_counter()

        async def send_with_headers(message: Message) -> None:
            nonlocal has_started, status
            if message["type"] == "http.response.start":
                has_started, status = True, message["status"]
                own = list(message.get("headers", ()))
                if all(name != b"cache-control" for name, _ in own):
                    own.append(NO_STORE)
                message["headers"] = [*own, (REQUEST_ID_HEADER, request_id), *headers]
                self._metrics.answer(status)
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                self._note(scope, status, time.perf_counter() - began)

        async def send_unless_refused(message: Message) -> None:
            # The application may answer something else when reading the body fails.
            if not limit.is_exceeded:
                await send_with_headers(message)

        if declared_length(scope) > MAX_BODY_BYTES:
            await refuse(send_with_headers, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, TOO_LARGE)
            return
        try:
            await self._app(scope, limit.receive, send_unless_refused)
        except BodyTooLarge:
            pass
        except Exception as error:
            # Whatever failed, the answer is ours; the server logs the error.
            if not has_started and not limit.is_exceeded:
                await refuse_after(error, send_with_headers)
            raise
        if limit.is_exceeded and not has_started:
            await refuse(send_with_headers, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, TOO_LARGE)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        """In the metrics and in the log: by the template of the route, never by the path.

        What stands in a path or query may be a key by mistake.
        """
        method, template = scope.get("method", ""), getattr(scope.get("route"), "path_format", "")
        self._metrics.took(place_of(method, template), seconds)
        if template.startswith(LOGGED_ROUTES):
            milliseconds = round(seconds * 1000, 1)
            facts = {"method": method, "route": template, "status": status, "duration_ms": milliseconds}
            logger.info("%s %s %d %s ms", method, template, status, milliseconds, extra=facts)


class _BodyLimit:
    """Counts what is received of a body, whatever length it claims."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._received = 0

    @property
    def is_exceeded(self) -> bool:
        return self._received > MAX_BODY_BYTES

    async def receive(self) -> Message:
        message = await self._receive()
        self._received += len(message.get("body", b""))
        if self.is_exceeded:
            raise BodyTooLarge
        return message


def declared_length(scope: Scope) -> int:
    """How long the request says that its body is; 0 where it says nothing."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value[:20])
    return 0


async def refuse_after(error: Exception, send: Send, more: Sequence[Header] = ()) -> HTTPStatus:
    """Answer a request that failed, with this status. What the system lacks now may be there in a second."""
    if is_exhaustion(error):
        await refuse(send, HTTPStatus.SERVICE_UNAVAILABLE, EXHAUSTED, [RETRY_SOON, *more])
        return HTTPStatus.SERVICE_UNAVAILABLE
    await refuse(send, HTTPStatus.INTERNAL_SERVER_ERROR, FAILED, more)
    return HTTPStatus.INTERNAL_SERVER_ERROR


async def refuse(send: Send, status: HTTPStatus, detail: str, more: Sequence[Header] = ()) -> None:
    """Answer and hang up: what is left of the request is not read any more."""
    body = orjson.dumps({"detail": detail})
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
                *more,
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})
