"""Events that are valid by default, so that each test names only what matters to it.

Overrides go by field name, wherever the field is: `a_key_created(name="ci", actor="admin")`. Everything
about a key but its fresh ids follows from its key_id, so a test that names the ids gets the same bytes.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import uuid_utils

from events.codec import encode
from events.envelope import Fact
from events.keys import (
    IssuedKey,
    KeyCreated,
    KeyEvent,
    KeyRefingerprinted,
    KeyRevoked,
    KeyRotated,
    Refingerprinting,
    Revocation,
    Rotation,
)
from events.lineage import Lineage
from events.log import LOG_APPEND_TIME
from events.usage import KeyUsed, Usage

#: When builders say that keys are created, unless told otherwise; later events follow a minute apart.
CREATED_AT = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)


def a_key_created(**overrides: Any) -> KeyCreated:
    """The first event of a new lineage."""
    data, envelope = _split(IssuedKey, overrides)
    key_id = data.setdefault("key_id", fresh_id())
    created_at = envelope.setdefault("time", CREATED_AT)
    data.setdefault("expires_at", _expiry(created_at, data.get("lifetime_days")))
    return KeyCreated(
        **_envelope(envelope, subject=key_id, partitionkey=key_id, sequence=1),
        data=IssuedKey(**{**_settings(), **_secret(key_id), "lineage_id": key_id, **data}),
    )


def a_key_rotated(before: KeyCreated | KeyRotated | Lineage, **overrides: Any) -> KeyRotated:
    """The rotation that follows on the event or lineage: same settings, fresh secret, no grace.

    `new_key_id` names the new key, `key_id` the old one; other fields of a key are those of the new one.
    """
    old, sequence, time = _current(before)
    rotation, rest = _split(Rotation, overrides)
    new_key_id = rest.pop("new_key_id", None) or fresh_id()
    data, envelope = _split(IssuedKey, rest)
    rotated_at = envelope.setdefault("time", time + timedelta(minutes=1))
    fresh = {
        **_secret(new_key_id),
        "key_id": new_key_id,
        "expires_at": _expiry(rotated_at, data.get("lifetime_days", old["lifetime_days"])),
    }
    rotation = {"key_id": old["key_id"], "new_key": IssuedKey(**{**old, **fresh, **data}), **rotation}
    return KeyRotated(
        **_envelope(
            envelope,
            subject=rotation["key_id"],
            partitionkey=rotation["new_key"].lineage_id,
            sequence=sequence + 1,
        ),
        data=Rotation(**rotation),
    )


def a_key_revoked(before: KeyCreated | KeyRotated | Lineage, **overrides: Any) -> KeyRevoked:
    """The revocation that follows on the event or lineage: of the current key, unless `key_id` says."""
    current, sequence, time = _current(before)
    data, envelope = _split(Revocation, overrides)
    data = {"key_id": current["key_id"], "reason": "no longer needed", **data}
    return KeyRevoked(
        **_envelope(
            envelope,
            subject=data["key_id"],
            partitionkey=current["lineage_id"],
            sequence=sequence + 1,
            time=time + timedelta(minutes=1),
        ),
        data=Revocation(**data),
    )


def a_refingerprinting(before: KeyCreated | KeyRotated | Lineage, **overrides: Any) -> KeyRefingerprinted:
    """The fingerprint under `pepper_id` (`p2`) that follows: of the current key, unless `key_id` says."""
    current, sequence, time = _current(before)
    data, envelope = _split(Refingerprinting, overrides)
    data = {"key_id": current["key_id"], "pepper_id": "p2", **data}
    data.setdefault("fingerprint", _fingerprint(data["key_id"], data["pepper_id"]))
    return KeyRefingerprinted(
        **_envelope(
            envelope,
            subject=data["key_id"],
            partitionkey=current["lineage_id"],
            sequence=sequence + 1,
            time=time + timedelta(minutes=1),
        ),
        data=Refingerprinting(**data),
    )


def some_usage(**overrides: Any) -> KeyUsed:
    """One served request, now, of a key that nobody has heard of unless `key_id` says."""
    data, envelope = _split(Usage, overrides)
    key_id = data.setdefault("key_id", fresh_id())
    served = {
        "service_id": "platform",
        "endpoint": "/api/v1/models/30/predict",
        "status_code": 200,
        "response_time_ms": 12.5,
        "predictions_count": 1,
    }
    return KeyUsed(
        **_envelope(envelope, subject=key_id, partitionkey=key_id, source="urn:hokusai:platform"),
        data=Usage(**{**served, **data}),
    )


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record as a reader of the log sees it."""

    topic: str = "keys.lifecycle"
    partition: int = 0
    offset: int = 0
    timestamp: int = int(CREATED_AT.timestamp() * 1000)
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp_type: int = LOG_APPEND_TIME


def lifecycle_record(
    event: KeyEvent, offset: int = 0, partition: int = 0, topic: str = "keys.lifecycle"
) -> StoredRecord:
    """The record that the event travels in, appended at the event's own time."""
    return StoredRecord(
        topic=topic,
        partition=partition,
        offset=offset,
        timestamp=int(event.time.timestamp() * 1000),
        key=event.partitionkey.encode(),
        value=encode(event),
    )


def fresh_id() -> str:
    """A key_id that no other key has."""
    return str(uuid_utils.uuid7())


def _settings() -> dict[str, Any]:
    return {
        "name": "nightly training",
        "user_id": "admin",
        "service_id": "platform",
        "environment": "production",
        "rate_limit_per_hour": 1000,
        "billing_plan": "free",
    }


def _expiry(issued_at: datetime, lifetime_days: int | None) -> datetime | None:
    return issued_at + timedelta(days=lifetime_days) if lifetime_days else None


def _secret(key_id: str) -> dict[str, Any]:
    """What is kept of a secret. Nothing in it was made from a real one."""
    digest = hashlib.blake2b(key_id.encode(), digest_size=40).digest()
    letters = b64encode(digest, altchars=b"./").decode()[:53]
    letters = f"{letters[:21]}.{letters[22:]}"  # a salt ends with one of four characters
    return {
        "key_prefix": f"hk_live_{hashlib.blake2b(key_id.encode(), digest_size=2).hexdigest()[:3]}***",
        "bcrypt_hash": f"$2b$12${letters}",
        "fingerprint": hashlib.blake2b(key_id.encode(), digest_size=32).hexdigest(),
        "pepper_id": "p1",
    }


def _fingerprint(key_id: str, pepper_id: str) -> str:
    """Another one for each key and pepper."""
    return hashlib.blake2b(f"{pepper_id}/{key_id}".encode(), digest_size=32).hexdigest()


def _current(before: KeyCreated | KeyRotated | Lineage) -> tuple[dict[str, Any], int, datetime]:
    """The current key as it was issued, the last sequence, and a time to follow on."""
    if isinstance(before, KeyCreated):
        return before.data.model_dump(), before.sequence, before.time
    if isinstance(before, KeyRotated):
        return before.data.new_key.model_dump(), before.sequence, before.time
    key = before.current
    facts = {name: getattr(key, name) for name in IssuedKey.model_fields if hasattr(key, name)}
    settings = {name: getattr(key.settings, name) for name in IssuedKey.model_fields if name not in facts}
    return {**facts, **settings, "fingerprint": key.fingerprint.hex()}, before.sequence, key.created_at


def _split(data: type[Fact], overrides: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Overrides of the data, and the others."""
    return (
        {name: value for name, value in overrides.items() if name in data.model_fields},
        {name: value for name, value in overrides.items() if name not in data.model_fields},
    )


def _envelope(overrides: dict[str, Any], **defaults: Any) -> dict[str, Any]:
    """Unknown names stay in it: the models refuse them, so a misspelt override fails its test."""
    return {"source": "urn:hokusai:api", "actor": "admin", **defaults, **overrides}
