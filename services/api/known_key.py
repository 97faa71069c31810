"""One key as validation needs it: until when it lives, where it may come from, what is answered."""

from __future__ import annotations

import math

import orjson

from events.lineage import Key

ALWAYS = math.inf
NEVER = -math.inf


class KnownKey:
    """One key as validation needs it. It is changed in place, so whoever holds it sees the newest facts.

    `active_until` and `expires_at` are seconds since 1970, `body` is what a valid key is answered with.
    """

    # All that a request asks for is one step away: of many keys, most of it is not in the processor's caches.
    __slots__ = (
        "_is_disputed",
        "active_until",
        "allowed_ips",
        "body",
        "expires_at",
        "key_id",
        "lineage_id",
        "rate_limit_per_hour",
        "scopes",
        "service_id",
    )

    def __init__(self, key: Key, *, is_parked: bool) -> None:
        self._is_disputed = False
        self.know(key, is_parked=is_parked)

    def know(self, key: Key, *, is_parked: bool) -> None:
        """These are the facts now."""
        settings = key.settings
        self.key_id = key.key_id
        self.lineage_id = key.lineage_id
        self.service_id = settings.service_id
        self.scopes = settings.scopes
        self.allowed_ips = settings.allowed_ips
        self.rate_limit_per_hour = settings.rate_limit_per_hour
        self.active_until = NEVER if is_parked or self._is_disputed else _active_until(key)
        self.expires_at = ALWAYS if key.expires_at is None else key.expires_at.timestamp()
        self.body = _body(key)

    def dispute(self) -> None:
        """Another lineage claims the same id or secret, which no writer of ours does: nobody passes with it.

        Whoever is met first, so that every reader decides alike.
        """
        self._is_disputed = True
        self.active_until = NEVER


def _body(key: Key) -> bytes:
    settings = key.settings
    return orjson.dumps(
        {
            "is_valid": True,
            "key_id": key.key_id,
            "user_id": settings.user_id,
            "service_id": settings.service_id,
            "scopes": list(settings.scopes),
            "rate_limit_per_hour": settings.rate_limit_per_hour,
            "billing_plan": settings.billing_plan,
            "monthly_prediction_limit": settings.monthly_prediction_limit,
        }
    )


def _active_until(key: Key) -> float:
    if key.revoked_at is not None:
        return NEVER
    if key.superseded_by is None:
        return ALWAYS
    return NEVER if key.valid_until is None else key.valid_until.timestamp()
