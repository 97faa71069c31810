"""POST /api/v1/keys/validate: the hot path. Request -> KeyValidator -> answer, in front of the router."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from services.api.directory import Header, KnownKey
from services.api.errors import HasherBusy
from services.api.metrics import Metrics
from services.api.rate_windows import HOUR_SECONDS, RateWindows
from services.api.validator import KeyValidator, Question
from services.api.verdict import Verdict

PATH = "/api/v1/keys/validate"
JSON = (b"content-type", b"application/json")
RETRY_AFTER = (b"retry-after", b"1")
QUESTION_FIELDS = ("service_id", "required_scope", "client_ip", "api_key")
SCHEMES = (b"bearer", b"apikey")
NOTHING: dict[str, object] = {}


class MalformedRequest(Exception):
    """The request can't be understood; the message names the field."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: the verdict, which has the status, the body, and whose limit the headers tell."""

    verdict: Verdict
    body: bytes
    known: KnownKey | None = None


FIXED = {verdict: Answer(verdict, verdict.body()) for verdict in Verdict}


class ValidationRoute:
    """An ASGI application that answers this one path and hands everything else on."""

    def __init__(
        self,
        app: ASGIApp,
        validator: KeyValidator,
        windows: RateWindows,
        now_seconds: Callable[[], float],
        is_stale: Callable[[], bool],
        metrics: Metrics,
    ) -> None:
        self._app = app
        self._validator = validator
        self._windows = windows
        self._now_seconds = now_seconds
        self._is_stale = is_stale
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        body = await _read_body(receive)
        if body is None:
            return
        answer = await self._answer(scope, body)
        self._metrics.verdict(answer.verdict)
        headers = [JSON, (b"content-length", b"%d" % len(answer.body))]
        if answer.known is not None:
            headers += self._limit_headers(answer.known, answer.verdict)
        elif answer.verdict.status == Verdict.STALE.status:
            headers.append(RETRY_AFTER)
        await send({"type": "http.response.start", "status": answer.verdict.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Scope, body: bytes) -> Answer:
        if self._is_stale():
            return FIXED[Verdict.STALE]
        try:
            return await self._validate(scope, body)
        except MalformedRequest as error:
            return Answer(Verdict.MALFORMED_REQUEST, orjson.dumps({"detail": str(error)}))
        except HasherBusy:
            return FIXED[Verdict.UNDECIDED]

    async def _validate(self, scope: Scope, body: bytes) -> Answer:
        presented = _key_from_headers(scope)
        known = None
        if presented is not None:
            # A bad key in a header is refused before the body is looked at.
            known = await self._known(presented)
            if known is None:
                return FIXED[Verdict.UNKNOWN]
            verdict = self._validator.judge_key(known)
            if verdict is not Verdict.VALID:
                return Answer(verdict, FIXED[verdict].body, known)
        fields = _parse(body)
        if known is None:
            in_body = fields.get("api_key")
            if not isinstance(in_body, str) or not in_body:
                return FIXED[Verdict.NO_KEY]
            known = await self._known(in_body.encode())
            if known is None:
                return FIXED[Verdict.UNKNOWN]
        verdict = self._validator.judge(known, _question(fields, scope))
        return Answer(verdict, known.body if verdict is Verdict.VALID else FIXED[verdict].body, known)

    def _limit_headers(self, known: KnownKey, verdict: Verdict) -> Sequence[Header]:
        """The key's limit, what is left of it, and the seconds until there is all of it again."""
        now = self._now_seconds()
        left, reset_seconds = self._windows.remaining(known.key, now), HOUR_SECONDS - int(now) % HOUR_SECONDS
        limit, policy = known.limit_headers
        headers = (
            limit,
            (b"ratelimit-remaining", b"%d" % left),
            (b"ratelimit-reset", b"%d" % reset_seconds),
            policy,
            (b"ratelimit", b'"hourly";r=%d;t=%d' % (left, reset_seconds)),
        )
        if verdict is Verdict.RATE_LIMITED:
            return (*headers, (b"retry-after", b"%d" % reset_seconds))
        return headers

    async def _known(self, presented: bytes) -> KnownKey | None:
        return self._validator.find(presented) or await self._validator.recognise(presented)


def _key_from_headers(scope: Scope) -> bytes | None:
    """`Authorization: Bearer` (or `ApiKey`) first, then `X-API-Key`. Each may come once."""
    authorization, api_key = None, None
    for name, value in scope["headers"]:
        if name == b"authorization":
            if authorization is not None:
                raise MalformedRequest("Authorization: given more than once")
            authorization = value
        elif name == b"x-api-key":
            if api_key is not None:
                raise MalformedRequest("X-API-Key: given more than once")
            api_key = value
    if authorization is not None:
        scheme, *credential = authorization.split(None, 1)[:2] or [b""]
        if scheme.lower() in SCHEMES and credential:
            return bytes(credential[0].strip())
    return api_key.strip() or None if api_key is not None else None


def _parse(body: bytes) -> dict[str, object]:
    if not body:
        return NOTHING
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise MalformedRequest("body: not valid JSON") from None
    if fields is None:
        return NOTHING
    if not isinstance(fields, dict):
        raise MalformedRequest("body: must be a JSON object")
    for name in QUESTION_FIELDS:
        value = fields.get(name)
        if value is not None and not isinstance(value, str):
            raise MalformedRequest(f"{name}: must be a string or null")
    return fields


def _question(fields: dict[str, object], scope: Scope) -> Question:
    client_ip = fields.get("client_ip")
    if client_ip is None:
        client_ip = scope["client"][0] if scope["client"] else ""
    return Question(fields.get("service_id"), fields.get("required_scope"), client_ip)  # type: ignore[arg-type]


async def _read_body(receive: Receive) -> bytes | None:
    """The whole body, or None where the caller hung up."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body", False):
        message = await receive()
        body += message.get("body", b"")
    return None if message["type"] == "http.disconnect" else body
