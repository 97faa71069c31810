"""Tokens that open routes: those of the admin, and that of whoever reports usage."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from services.api.errors import Unauthenticated
from services.api.http.credentials import read_credential


class BearerTokens:
    """Several at once, so that one can be replaced without an outage."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._tokens = [token.encode() for token in tokens]

    def check(self, authorization: Sequence[str]) -> None:
        """Raise `Unauthenticated` unless the `Authorization` headers are one bearer token of ours.

        Every token is compared, in constant time, whichever matches.
        """
        presented = read_credential(authorization[0].encode("latin-1")) if authorization else None
        if presented is None:
            raise Unauthenticated("Not authenticated")
        matches = [hmac.compare_digest(presented, token) for token in self._tokens]
        if len(authorization) > 1 or not any(matches):
            raise Unauthenticated("Invalid authentication credentials")
