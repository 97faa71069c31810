"""How the store writes keys and lineages: JSON objects, each fact under its name.

`VERSION` belongs to these names and what they mean. A store of another version is filled anew.
Times are microseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from events.lineage import Key, KeySettings

VERSION = 1

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TIMES = ("created_at", "expires_at", "revoked_at", "valid_until")


@dataclass(frozen=True, slots=True)
class StoredLineage:
    """A lineage beside its keys. `current` is the id of its current key, `revoked_at` the end of that one.

    `keys` are the lineage's own where another lineage has taken the id of one of them, which no writer of
    ours does; they can't stand among the others then.
    """

    sequence: int = 0
    current: str | None = None
    revoked_at: datetime | None = None
    parked: str | None = None
    keys: tuple[Key, ...] = ()


def id_bytes(key_id: str) -> bytes:
    """The 16 bytes that the id of a key or lineage is written with: a UUID, as every event has it."""
    return bytes.fromhex(key_id.replace("-", ""))


def id_bytes_or_none(text: str) -> bytes | None:
    """The same of what somebody says is an id; None where no key can have it."""
    try:
        found = UUID(text)
    except ValueError:
        return None
    return found.bytes if str(found) == text else None


def id_text(sixteen: bytes) -> str:
    return str(UUID(bytes=bytes(sixteen)))


def encode_key(key: Key, *, is_parked: bool, is_conflicting: bool) -> bytes:
    """The record of a key. `is_parked`: its lineage is; `is_conflicting`: another key has its id."""
    marks = {"is_parked": is_parked, "is_conflicting": is_conflicting}
    return orjson.dumps(_facts(key) | {name: True for name, is_set in marks.items() if is_set})


def encode_lineage(lineage: StoredLineage) -> bytes:
    facts: dict[str, Any] = {"sequence": lineage.sequence, "current": lineage.current}
    if lineage.revoked_at is not None:
        facts["revoked_at"] = _microseconds(lineage.revoked_at)
    if lineage.parked is not None:
        facts["parked"] = lineage.parked
    if lineage.keys:
        facts["keys"] = [_facts(key) for key in lineage.keys]
    return orjson.dumps(facts)


def decode_lineage(record: bytes | memoryview) -> StoredLineage:
    facts = orjson.loads(record)
    return StoredLineage(
        facts["sequence"],
        facts["current"],
        _time(facts.get("revoked_at")),
        facts.get("parked"),
        tuple(key_of(key) for key in facts.get("keys", ())),
    )


def key_of(facts: Mapping[str, Any]) -> Key:
    """The key whose record has these facts."""
    created_at = _time(facts["created_at"])
    assert created_at is not None
    settings: dict[str, Any] = {name: facts[name] for name in KeySettings._fields}
    for name in ("scopes", "allowed_ips"):
        settings[name] = tuple(settings[name])
    return Key(
        key_id=facts["key_id"],
        lineage_id=facts["lineage_id"],
        settings=KeySettings(**settings),
        key_prefix=facts["key_prefix"],
        bcrypt_hash=facts["bcrypt_hash"],
        fingerprint=bytes.fromhex(facts["fingerprint"]),
        pepper_id=facts["pepper_id"],
        created_at=created_at,
        expires_at=_time(facts["expires_at"]),
        revoked_at=_time(facts["revoked_at"]),
        superseded_by=facts["superseded_by"],
        valid_until=_time(facts["valid_until"]),
    )


def _facts(key: Key) -> dict[str, Any]:
    facts = key._asdict()
    facts.update(facts.pop("settings")._asdict(), fingerprint=key.fingerprint.hex())
    for name in _TIMES:
        facts[name] = None if facts[name] is None else _microseconds(facts[name])
    return facts


def _microseconds(time: datetime) -> int:
    return (time - _EPOCH) // _MICROSECOND


def _time(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else _EPOCH + microseconds * _MICROSECOND
