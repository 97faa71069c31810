"""One key as validation needs it: until when it lives, where it may come from, what is answered."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import orjson

from events.keys import is_bcrypt_hash

ALWAYS = math.inf
NEVER = -math.inf

#: What a valid key is answered with, in this order.
ANSWERED = (
    "key_id",
    "user_id",
    "service_id",
    "scopes",
    "rate_limit_per_hour",
    "billing_plan",
    "monthly_prediction_limit",
)


class KeyFacts:
    """What a stored key comes to. Times are seconds since 1970, `body` is what a valid key is answered with.

    `records` are what it was made of; `version` is the newest state of the store that still holds them.
    """

    # All that a request asks for is one step away: of many keys, most of it is not in the processor's caches.
    __slots__ = (
        "active_until",
        "allowed_ips",
        "body",
        "expires_at",
        "key_id",
        "lineage_id",
        "rate_limit_per_hour",
        "records",
        "scopes",
        "service_id",
        "version",
    )

    def __init__(
        self, facts: Mapping[str, Any], records: tuple[bytes, bytes | None], version: int, *, is_closed: bool
    ) -> None:
        """`is_closed`: a superseded key whose lineage was revoked or parked since."""
        self.records = records
        self.version = version
        self.key_id: str = facts["key_id"]
        self.lineage_id: str = facts["lineage_id"]
        self.service_id: str = facts["service_id"]
        self.scopes = tuple(facts["scopes"])
        self.allowed_ips = tuple(facts["allowed_ips"])
        self.rate_limit_per_hour: int = facts["rate_limit_per_hour"]
        self.active_until = NEVER if is_closed else _active_until(facts)
        self.expires_at = ALWAYS if facts["expires_at"] is None else facts["expires_at"] / 1e6
        body = orjson.dumps({"is_valid": True, **{name: facts[name] for name in ANSWERED}})
        # orjson's own bytes hold on to 4 kB.
        self.body = bytes(memoryview(body))


def _active_until(facts: Mapping[str, Any]) -> float:
    if facts["revoked_at"] is not None or facts.get("is_parked") or facts.get("is_conflicting"):
        return NEVER
    # No event has a hash that bcrypt refuses; a row that an older reader made of one may.
    if not is_bcrypt_hash(facts["bcrypt_hash"]):
        return NEVER
    if facts["superseded_by"] is None:
        return ALWAYS
    return NEVER if facts["valid_until"] is None else facts["valid_until"] / 1e6
