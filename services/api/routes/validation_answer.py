"""What a validation is answered with, to the bytes of its headers; rendered once as far as that goes."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus

import orjson

from events.totals import HOUR_SECONDS
from services.api.directory.key_facts import KeyFacts
from services.api.http.middleware import ANSWER_HEADERS
from services.api.http.responses import header_lines
from services.api.verdict import Verdict

#: The verdict, which has the status, the lines of the headers, and the body.
Answer = tuple[Verdict, bytes, bytes]

VALID = Verdict.VALID
RATE_LIMITED = Verdict.RATE_LIMITED
BODIES = {verdict: verdict.body() for verdict in Verdict}


def malformed(detail: str) -> Answer:
    """What could not be understood."""
    body = orjson.dumps({"detail": detail})
    return Verdict.MALFORMED_REQUEST, _lines(len(body)), body


def of_key(verdict: Verdict, known: KeyFacts, left: int, now_seconds: float) -> Answer:
    """With the key's limit, what is left of it, and the seconds until there is all of it again."""
    body = known.body if verdict is VALID else BODIES[verdict]
    reset_seconds = HOUR_SECONDS - int(now_seconds) % HOUR_SECONDS
    lines = _lines_with_limit(len(body), known.rate_limit_per_hour) + (
        b'ratelimit-remaining: %d\r\nratelimit-reset: %d\r\nratelimit: "hourly";r=%d;t=%d\r\n'
        % (left, reset_seconds, left, reset_seconds)
    )
    if verdict is not VALID:
        lines += b"retry-after: %d\r\n" % reset_seconds if verdict is RATE_LIMITED else _challenge(verdict)
    return verdict, lines, body


def _without_key(verdict: Verdict) -> Answer:
    lines = _lines(len(BODIES[verdict]))
    if verdict.status == HTTPStatus.UNAUTHORIZED:
        lines += _challenge(verdict)
    if verdict.status == HTTPStatus.SERVICE_UNAVAILABLE:
        lines += b"retry-after: 1\r\n"
    return verdict, lines, BODIES[verdict]


def _lines(length: int) -> bytes:
    body = [(b"content-type", b"application/json"), (b"content-length", b"%d" % length)]
    return header_lines([*body, *ANSWER_HEADERS])


def _challenge(verdict: Verdict) -> bytes:
    """As RFC 6750 has it."""
    error = b"insufficient_scope" if verdict is Verdict.MISSING_SCOPE else b"invalid_token"
    return b'www-authenticate: Bearer error="%s"\r\n' % error


@lru_cache(maxsize=1024)
def _lines_with_limit(length: int, limit: int) -> bytes:
    """The same for every key with this limit and an answer of this length, so not kept with each of them."""
    limits = [(b"ratelimit-limit", b"%d" % limit), (b"ratelimit-policy", b'"hourly";q=%d;w=3600' % limit)]
    return _lines(length) + header_lines(limits)


#: The answers that tell nothing of a key.
WITHOUT_KEY = {verdict: _without_key(verdict) for verdict in Verdict}
