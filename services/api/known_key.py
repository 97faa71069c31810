"""One key as validation needs it: until when it lives, where it may come from, what is answered."""

from __future__ import annotations

import math
from ipaddress import IPv4Network, IPv6Network

import orjson

from events.lineage import Key
from services.api.addresses import parse_networks

ALWAYS = math.inf
NEVER = -math.inf


class KnownKey:
    """One key as validation needs it. It is changed in place, so whoever holds it sees the newest facts.

    `active_until` and `expires_at` are seconds since 1970. What takes parsing is made at its first use.
    """

    __slots__ = (
        "_body",
        "_is_disputed",
        "_networks",
        "active_until",
        "expires_at",
        "key",
    )

    def __init__(self, key: Key, *, is_parked: bool) -> None:
        self._is_disputed = False
        self.know(key, is_parked=is_parked)

    def know(self, key: Key, *, is_parked: bool) -> None:
        """These are the facts now."""
        self.key = key
        self.active_until = NEVER if is_parked or self._is_disputed else _active_until(key)
        self.expires_at = ALWAYS if key.expires_at is None else key.expires_at.timestamp()
        self._body: bytes | None = None
        self._networks: tuple[IPv4Network | IPv6Network, ...] | None = None

    def dispute(self) -> None:
        """Another lineage claims the same id or secret, which no writer of ours does: nobody passes with it.

        Whoever is met first, so that every reader decides alike.
        """
        self._is_disputed = True
        self.active_until = NEVER

    @property
    def body(self) -> bytes:
        """The answer to a validation that succeeds, as JSON."""
        if self._body is None:
            settings = self.key.settings
            self._body = orjson.dumps(
                {
                    "is_valid": True,
                    "key_id": self.key.key_id,
                    "user_id": settings.user_id,
                    "service_id": settings.service_id,
                    "scopes": list(settings.scopes),
                    "rate_limit_per_hour": settings.rate_limit_per_hour,
                    "billing_plan": settings.billing_plan,
                    "monthly_prediction_limit": settings.monthly_prediction_limit,
                }
            )
        return self._body

    @property
    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Where requests may come from; of an allowlist that can't be read, nowhere."""
        if self._networks is None:
            try:
                self._networks = parse_networks(self.key.settings.allowed_ips)
            except ValueError:
                self._networks = ()
        return self._networks


def _active_until(key: Key) -> float:
    if key.revoked_at is not None:
        return NEVER
    if key.superseded_by is None:
        return ALWAYS
    return NEVER if key.valid_until is None else key.valid_until.timestamp()
