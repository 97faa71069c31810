"""The one meaning of a key's history: fold its events, in order, with `apply`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from events.keys import (
    Environment,
    IssuedKey,
    KeyCreated,
    KeyEvent,
    KeyRefingerprinted,
    KeyRevoked,
    KeyRotated,
)

# What a fold makes by the million is a NamedTuple: a frozen dataclass takes five times as long to make.


class KeySettings(NamedTuple):
    """What rotation keeps: everything about a key but its secret and its dates."""

    name: str
    user_id: str
    service_id: str
    environment: Environment
    scopes: tuple[str, ...]
    allowed_ips: tuple[str, ...]
    rate_limit_per_hour: int
    monthly_prediction_limit: int | None
    billing_plan: str
    lifetime_days: int | None


class Key(NamedTuple):
    """One secret of a lineage. `bytes` fingerprint of 32 bytes; times are aware and UTC."""

    key_id: str
    lineage_id: str
    settings: KeySettings
    key_prefix: str
    bcrypt_hash: str
    fingerprint: bytes
    pepper_id: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None = None
    superseded_by: str | None = None
    valid_until: datetime | None = None

    def is_active(self, now: datetime) -> bool:
        """Neither revoked nor replaced, or replaced and still in grace. Expiry is another question."""
        if self.revoked_at is not None:
            return False
        if self.superseded_by is None:
            return True
        return self.valid_until is not None and now < self.valid_until

    def is_expired(self, now: datetime) -> bool:
        """Its own end, chosen when it was issued, has come."""
        return self.expires_at is not None and self.expires_at <= now

    def __repr__(self) -> str:
        shown = (f"{name}={fact!r}" for name, fact in self._asdict().items() if name not in _NEVER_SHOWN)
        return f"Key({', '.join(shown)})"


#: What verifies a secret belongs in no log and no traceback.
_NEVER_SHOWN = frozenset({"bcrypt_hash", "fingerprint"})


class Lineage(NamedTuple):
    """The keys that rotation has strung together, oldest first; the last one is the current key.

    `sequence` is that of the last applied event. While `parked` says why, every key is refused.
    """

    lineage_id: str
    sequence: int = 0
    keys: tuple[Key, ...] = ()
    parked: str | None = None

    @property
    def current(self) -> Key:
        return self.keys[-1]

    def find(self, key_id: str) -> Key | None:
        return next((key for key in self.keys if key.key_id == key_id), None)


@dataclass(frozen=True, slots=True)
class Applied:
    """The event took effect."""

    lineage: Lineage


@dataclass(frozen=True, slots=True)
class Ignored:
    """The event changes nothing: a duplicate, the loser of a race, or its lineage is parked."""

    why: str


@dataclass(frozen=True, slots=True)
class Parked:
    """The event cannot follow on the lineage, which is refused everywhere from now on."""

    lineage: Lineage
    why: str


Outcome = Applied | Ignored | Parked


def apply(lineage: Lineage | None, event: KeyEvent) -> Outcome:
    """Fold one event into its lineage (`None`: nothing is known of it). Pure, and harmless when repeated."""
    before = lineage or Lineage(event.partitionkey)
    if before.parked is not None:
        return Ignored("parked")
    if event.sequence <= before.sequence:
        return Ignored("stale sequence")
    if event.sequence > before.sequence + 1:
        return park(before, f"gap: sequence {event.sequence} after {before.sequence}")
    if isinstance(event, KeyCreated):
        after = _create(before, event)
    elif isinstance(event, KeyRotated):
        after = _rotate(before, event)
    elif isinstance(event, KeyRevoked):
        after = _revoke(before, event)
    else:
        after = _refingerprint(before, event)
    if after is None:
        return park(before, f"contradiction: {type(event).__name__} at sequence {event.sequence}")
    return Applied(after)


def park(lineage: Lineage, why: str) -> Parked:
    """Close a lineage whose history cannot be understood any further, until a rebuild understands it."""
    return Parked(lineage._replace(parked=why), why)


def issued_key(issued: IssuedKey, created_at: datetime) -> Key:
    """The key that an event has issued at that time."""
    return Key(
        key_id=issued.key_id,
        lineage_id=issued.lineage_id,
        settings=KeySettings(
            name=issued.name,
            user_id=issued.user_id,
            service_id=issued.service_id,
            environment=issued.environment,
            scopes=issued.scopes,
            allowed_ips=issued.allowed_ips,
            rate_limit_per_hour=issued.rate_limit_per_hour,
            monthly_prediction_limit=issued.monthly_prediction_limit,
            billing_plan=issued.billing_plan,
            lifetime_days=issued.lifetime_days,
        ),
        key_prefix=issued.key_prefix,
        bcrypt_hash=issued.bcrypt_hash,
        fingerprint=bytes.fromhex(issued.fingerprint),
        pepper_id=issued.pepper_id,
        created_at=created_at,
        expires_at=issued.expires_at,
    )


# Each returns None where a well-formed event of the right sequence contradicts what came before.
# No writer of ours can produce that, so its lineage is not trusted any more.


def _create(before: Lineage, event: KeyCreated) -> Lineage | None:
    if before.keys:
        return None
    return Lineage(before.lineage_id, event.sequence, (issued_key(event.data, event.time),))


def _rotate(before: Lineage, event: KeyRotated) -> Lineage | None:
    if not before.keys or before.current.key_id != event.data.key_id:
        return None
    old = before.current
    new = issued_key(event.data.new_key, event.time)
    if old.revoked_at is not None or before.find(new.key_id) is not None:
        return None
    replaced = old._replace(superseded_by=new.key_id, valid_until=event.data.valid_until)
    return before._replace(sequence=event.sequence, keys=(*before.keys[:-1], replaced, new))


def _revoke(before: Lineage, event: KeyRevoked) -> Lineage | None:
    if before.find(event.data.key_id) is None:
        return None
    is_current = before.current.key_id == event.data.key_id
    keys = tuple(
        key._replace(revoked_at=event.time)
        if key.revoked_at is None and (is_current or key.key_id == event.data.key_id)
        else key
        for key in before.keys
    )
    return before._replace(sequence=event.sequence, keys=keys)


def _refingerprint(before: Lineage, event: KeyRefingerprinted) -> Lineage | None:
    """Dead keys too: it makes none of them alive, and whoever wrote it may not have known of the end."""
    named, fresh = event.data.key_id, bytes.fromhex(event.data.fingerprint)
    if before.find(named) is None:
        return None
    keys = tuple(
        key._replace(fingerprint=fresh, pepper_id=event.data.pepper_id) if key.key_id == named else key
        for key in before.keys
    )
    return before._replace(sequence=event.sequence, keys=keys)
