"""What can come of a validation, and the one translation of it to HTTP."""

from __future__ import annotations

from enum import Enum
from http import HTTPStatus

import orjson


class Verdict(Enum):
    """A refused key is an answer, not an exception: the status and the text that clients get.

    Unknown, malformed and wrong-secret keys are one verdict: telling them apart would tell an attacker
    which keys exist. Everything that is wrong with a key is 401; clients take other 4xx for a pass, but
    for the 429 of a key that is right and has used up its hour.
    """

    VALID = (HTTPStatus.OK, "")
    NO_KEY = (HTTPStatus.BAD_REQUEST, "No API key provided")
    MALFORMED_REQUEST = (HTTPStatus.BAD_REQUEST, "")
    ENCODED = (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Encoding: a body must not be compressed")
    NOT_SERVED = (HTTPStatus.UNAUTHORIZED, "Nothing is validated here: POST /api/v1/keys/validate")
    UNKNOWN = (HTTPStatus.UNAUTHORIZED, "Invalid API key")
    INACTIVE = (HTTPStatus.UNAUTHORIZED, "API key is inactive or has been revoked")
    EXPIRED = (HTTPStatus.UNAUTHORIZED, "API key has expired")
    WRONG_SERVICE = (HTTPStatus.UNAUTHORIZED, "Key not authorized for this service")
    MISSING_SCOPE = (HTTPStatus.UNAUTHORIZED, "Key does not have required scope")
    OUTSIDE_ALLOWLIST = (HTTPStatus.UNAUTHORIZED, "IP address not in allowlist")
    RATE_LIMITED = (HTTPStatus.TOO_MANY_REQUESTS, "Rate limit exceeded")
    STALE = (HTTPStatus.SERVICE_UNAVAILABLE, "Out of touch with the log for too long")
    UNCOUNTED = (HTTPStatus.SERVICE_UNAVAILABLE, "This node has no room to count requests")
    UNDECIDED = (HTTPStatus.SERVICE_UNAVAILABLE, "Too many keys are being verified, try again")

    def __init__(self, status: HTTPStatus, text: str) -> None:
        self.status = int(status)
        self.text = text
        self.index = len(type(self).__members__)

    def body(self) -> bytes:
        """The JSON answer of every verdict that does not depend on the key or the request."""
        if self.status == HTTPStatus.UNAUTHORIZED:
            return orjson.dumps(
                {
                    "is_valid": False,
                    "key_id": None,
                    "user_id": None,
                    "service_id": None,
                    "scopes": None,
                    "rate_limit_per_hour": None,
                    "billing_plan": None,
                    "monthly_prediction_limit": None,
                    "error": self.text,
                }
            )
        return orjson.dumps({"detail": self.text})
