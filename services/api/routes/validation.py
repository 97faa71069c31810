"""POST /api/v1/keys/validate: the hot path. Request -> KeyValidator -> answer, in front of the rest."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from time import perf_counter_ns

from starlette.types import ASGIApp, Receive, Scope, Send

from events.process_logs import REQUEST_ID
from services.api.errors import HasherBusy
from services.api.http.client_address import ClientAddress
from services.api.http.json_bodies import EncodedBody, MalformedBody
from services.api.http.middleware import (
    ANSWER_HEADERS,
    MAX_BODY_BYTES,
    TOO_LARGE,
    BodyTooLarge,
    refuse,
    refuse_after,
)
from services.api.http.paths import plain_path
from services.api.http.request_ids import HEADER as REQUEST_ID_HEADER
from services.api.http.request_ids import RequestIds, given_in
from services.api.http.responses import Header, parse_header_lines, write_prebuilt
from services.api.limits.errors import NoRoomForCounts
from services.api.limits.rate_limits import RateLimits
from services.api.metrics import Metrics
from services.api.routes.validation_answer import VALID, WITHOUT_KEY, Answer, malformed, of_key
from services.api.routes.validation_request import (
    key_in_body,
    key_in_headers,
    parse,
    question_in,
    refuse_declared_too_large,
    whole_body,
)
from services.api.validator import KeyValidator
from services.api.verdict import Verdict

logger = logging.getLogger(__name__)

PATH = "/api/v1/keys/validate"


class ValidationRoute:
    """An ASGI application that answers this one path and hands everything else on."""

    def __init__(
        self,
        app: ASGIApp,
        validator: KeyValidator,
        limits: RateLimits,
        now_seconds: Callable[[], float],
        is_stale: Callable[[], bool],
        metrics: Metrics,
        client_address: ClientAddress,
        request_ids: RequestIds,
    ) -> None:
        self._app = app
        self._validator = validator
        self._limits = limits
        self._now_seconds = now_seconds
        self._is_stale = is_stale
        self._metrics = metrics
        self._client_address = client_address
        self._request_ids = request_ids

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self._look_closer(scope, receive, send)
            return
        began = perf_counter_ns()
        headers = dict(scope["headers"])
        try:
            refuse_declared_too_large(scope, headers)
            message = await receive()
            body = message.get("body")
            # Nearly always there is all of it.
            if body is None or message.get("more_body", False) or len(body) > MAX_BODY_BYTES:
                body = await whole_body(message, receive)
                if body is None:
                    return
            verdict, lines, body = await self._answer(scope, headers, body)
        except BodyTooLarge:
            self._metrics.answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            more = self._more(headers)
            await refuse(send, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, TOO_LARGE, more)
            return
        except Exception as error:
            # Whatever failed, the answer is ours; the server logs the error.
            self._metrics.answer(await refuse_after(error, send, self._more(headers)))
            raise
        lines += self._request_ids.line(headers.get(REQUEST_ID_HEADER))
        if not write_prebuilt(scope, verdict.status, lines, body):
            await _send(send, verdict, lines, body)
        self._metrics.validation(verdict, perf_counter_ns() - began)

    async def _look_closer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The path may be written otherwise. What is only meant for it is refused.

        Not with a 404 or 405: some clients take all but 401 for a pass.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif (path := plain_path(scope["path"])) != scope["path"]:
            await self({**scope, "path": path}, receive, send)
        elif is_meant_for_validation(path):
            began = perf_counter_ns()
            verdict, lines, body = WITHOUT_KEY[Verdict.NOT_SERVED]
            line = self._request_ids.line(given_in(scope["headers"]))
            await _send(send, verdict, lines + line, body)
            self._metrics.validation(verdict, perf_counter_ns() - began)
        else:
            await self._app(scope, receive, send)

    def _more(self, headers: Mapping[bytes, bytes]) -> list[Header]:
        """What a refusal has besides, which goes around the middleware."""
        request_id = self._request_ids.of(headers.get(REQUEST_ID_HEADER))
        REQUEST_ID.set(request_id.decode())
        return [(REQUEST_ID_HEADER, request_id), *ANSWER_HEADERS]

    async def _answer(self, scope: Scope, headers: Mapping[bytes, bytes], body: bytes) -> Answer:
        """Waits for nothing, except where only bcrypt can tell which key it is."""
        if self._is_stale():
            return WITHOUT_KEY[Verdict.STALE]
        validator, fields = self._validator, None
        try:
            presented = key_in_headers(scope, headers)
            if presented is None:
                fields = parse(body, headers)
                presented = key_in_body(fields)
                if presented is None:
                    return WITHOUT_KEY[Verdict.NO_KEY]
            known = validator.find(presented)
            if known is None:
                known = await validator.find_by_bcrypt(presented, self._client_address(scope))
            if known is None:
                return WITHOUT_KEY[Verdict.UNKNOWN]
            now_seconds = self._now_seconds()
            verdict = validator.judge_key(known, now_seconds)
            if verdict is VALID:
                # Not before: a bad key in a header is refused whatever the body.
                question = question_in(
                    parse(body, headers) if fields is None else fields, scope, self._client_address
                )
                verdict = validator.judge_question(known, question, now_seconds)
        except MalformedBody as error:
            return malformed(str(error))
        except EncodedBody:
            return WITHOUT_KEY[Verdict.ENCODED]
        except HasherBusy:
            return WITHOUT_KEY[Verdict.UNDECIDED]
        except NoRoomForCounts as error:
            logger.error("%s", error)  # noqa: TRY400
            return WITHOUT_KEY[Verdict.UNCOUNTED]
        return of_key(verdict, known, self._limits.remaining(known, now_seconds), now_seconds)


def is_meant_for_validation(path: str) -> bool:
    """Whether who asks there may take the answer for a verdict: another method, case, prefix or ending."""
    path = path.lower()
    return path.endswith(PATH) or f"{PATH}/" in path


async def _send(send: Send, verdict: Verdict, lines: bytes, body: bytes) -> None:
    headers = parse_header_lines(lines)
    await send({"type": "http.response.start", "status": verdict.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
