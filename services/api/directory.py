"""Every key this worker knows, by fingerprint and by id: the memory that validation answers from."""

from __future__ import annotations

import math
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network

import orjson

from events.lineage import Key, Lineage
from services.api.addresses import parse_networks

ALWAYS = math.inf
NEVER = -math.inf

Header = tuple[bytes, bytes]


class KnownKey:
    """One key as validation needs it. It is changed in place, so whoever holds it sees the newest facts.

    `active_until` and `expires_at` are seconds since 1970. What takes parsing is made at its first use.
    """

    __slots__ = (
        "_body",
        "_is_disputed",
        "_limit_headers",
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
        self._limit_headers: tuple[Header, Header] | None = None

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
    def limit_headers(self) -> tuple[Header, Header]:
        """The headers that tell the key's limit, whatever is left of it."""
        if self._limit_headers is None:
            limit = self.key.settings.rate_limit_per_hour
            self._limit_headers = (
                (b"ratelimit-limit", b"%d" % limit),
                (b"ratelimit-policy", b'"hourly";q=%d;w=3600' % limit),
            )
        return self._limit_headers

    @property
    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Where requests may come from; of an allowlist that can't be read, nowhere."""
        if self._networks is None:
            try:
                self._networks = parse_networks(self.key.settings.allowed_ips)
            except ValueError:
                self._networks = ()
        return self._networks


class KeyDirectory:
    """All lineages, and their keys by fingerprint and by id.

    Keys whose pepper is not among `pepper_ids` can't be found by fingerprint. They are kept by what is
    visible of them, until bcrypt has recognised one and its fingerprint is remembered.
    """

    def __init__(self, pepper_ids: frozenset[str]) -> None:
        self._pepper_ids = pepper_ids
        self._lineages: dict[str, Lineage] = {}
        self._by_fingerprint: dict[bytes, KnownKey] = {}
        self._by_key_id: dict[str, KnownKey] = {}
        self._unverifiable: dict[str, list[KnownKey]] = {}
        self.find = self._by_fingerprint.get
        self.parked_count = 0
        self.unverifiable_count = 0

    def __len__(self) -> int:
        return len(self._by_key_id)

    def lineage(self, lineage_id: str) -> Lineage | None:
        return self._lineages.get(lineage_id)

    def lineage_of(self, key_id: str) -> Lineage | None:
        """The lineage that a key belongs to."""
        known = self._by_key_id.get(key_id)
        return self._lineages[known.key.lineage_id] if known else None

    def get(self, key_id: str) -> KnownKey | None:
        return self._by_key_id.get(key_id)

    def unverifiable(self, key_prefix: str) -> list[KnownKey]:
        """The keys that look like this and that only bcrypt can verify."""
        return self._unverifiable.get(key_prefix, [])

    def load(self, lineages: Iterable[Lineage]) -> None:
        for lineage in lineages:
            self.put(lineage)

    def put(self, lineage: Lineage) -> None:
        """This is what is known of the lineage now."""
        before = self._lineages.get(lineage.lineage_id)
        self._lineages[lineage.lineage_id] = lineage
        is_parked = lineage.parked is not None
        self.parked_count += is_parked - (before is not None and before.parked is not None)
        for key in lineage.keys:
            if (known := self._by_key_id.get(key.key_id)) is None:
                self._add(KnownKey(key, is_parked=is_parked))
            elif known.key.lineage_id == key.lineage_id:
                known.know(key, is_parked=is_parked)
            else:
                known.dispute()

    def remember(self, fingerprint: bytes, known: KnownKey) -> None:
        """bcrypt has recognised this key: from now on its fingerprint of today finds it."""
        self._by_fingerprint[fingerprint] = known
        look_alikes = self._unverifiable.get(known.key.key_prefix, [])
        if known in look_alikes:
            look_alikes.remove(known)
            self.unverifiable_count -= 1

    def _add(self, known: KnownKey) -> None:
        key = known.key
        self._by_key_id[key.key_id] = known
        if (other := self._by_fingerprint.get(key.fingerprint)) is not None:
            other.dispute()
            known.dispute()
        elif key.pepper_id in self._pepper_ids:
            self._by_fingerprint[key.fingerprint] = known
        else:
            self._unverifiable.setdefault(key.key_prefix, []).append(known)
            self.unverifiable_count += 1


def _active_until(key: Key) -> float:
    if key.revoked_at is not None:
        return NEVER
    if key.superseded_by is None:
        return ALWAYS
    return NEVER if key.valid_until is None else key.valid_until.timestamp()
