"""Keys as few bytes: a worker knows a million of them, and most are not asked for in its lifetime."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from struct import Struct
from typing import NamedTuple

import orjson

from events.keys import Environment
from events.lineage import Key, KeySettings, Lineage

#: The number of the key's terms, when it was created, its fingerprint, its bcrypt hash: always of 60
#: characters. Its texts follow, with NUL between them, which no text of an event contains.
_HASH_BYTES = 60
_HEAD = Struct(f"<Iq32s{_HASH_BYTES}s")
_NUMBER = Struct("<I")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
#: The last four facts of a stored key, where nothing ends it.
_NO_END = (None, None, None, None)


class Terms(NamedTuple):
    """What many keys have in common."""

    service_id: str
    environment: Environment
    scopes: tuple[str, ...]
    allowed_ips: tuple[str, ...]
    rate_limit_per_hour: int
    monthly_prediction_limit: int | None
    billing_plan: str
    lifetime_days: int | None
    pepper_id: str


class StoredKey(NamedTuple):
    """A key beside the facts of its lineage. `terms` may still be the JSON array of them."""

    lineage_id: str
    sequence: int
    parked: str | None
    key_id: str
    user_id: str
    name: str
    key_prefix: str
    terms: Terms | str
    bcrypt_hash: str
    fingerprint: bytes
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    valid_until: datetime | None
    superseded_by: str | None


def stored_keys(lineage: Lineage) -> Iterator[StoredKey]:
    """The keys of a lineage, oldest first."""
    for key in lineage.keys:
        settings = key.settings
        terms = Terms(
            settings.service_id,
            settings.environment,
            settings.scopes,
            settings.allowed_ips,
            settings.rate_limit_per_hour,
            settings.monthly_prediction_limit,
            settings.billing_plan,
            settings.lifetime_days,
            key.pepper_id,
        )
        yield StoredKey(
            key.lineage_id,
            lineage.sequence,
            lineage.parked,
            key.key_id,
            settings.user_id,
            settings.name,
            key.key_prefix,
            terms,
            key.bcrypt_hash,
            key.fingerprint,
            key.created_at,
            key.expires_at,
            key.revoked_at,
            key.valid_until,
            key.superseded_by,
        )


class CompactKeys:
    """Packs and unpacks keys. Equal terms are kept once, and a packed key has their number."""

    def __init__(self) -> None:
        self._terms: list[Terms] = []
        self._numbers: dict[Terms | str, int] = {}

    def pack(self, key: StoredKey) -> bytes:
        texts = f"{key.key_prefix}\0{key.name}\0{key.user_id}"
        # Most keys are the first of their lineage, and nothing has happened to them.
        if key.sequence != 1 or key[-4:] != _NO_END or key.key_id != key.lineage_id:
            texts += f"\0{key.sequence}\0{key.lineage_id}\0{key.superseded_by or ''}"
            for end in (key.expires_at, key.revoked_at, key.valid_until):
                texts += "\0" if end is None else f"\0{_microseconds(end)}"
        number = self._numbers.get(key.terms)
        if number is None:
            number = self._new_number(key.terms)
        created = _microseconds(key.created_at)
        bcrypt_hash = key.bcrypt_hash.encode()
        if len(bcrypt_hash) != _HASH_BYTES:
            # Cut or filled up to fit, it would be another hash; it is kept as none, which verifies nobody.
            bcrypt_hash = b""
        return _HEAD.pack(number, created, key.fingerprint, bcrypt_hash) + texts.encode()

    def unpack(self, key_id: str, packed: bytes) -> Key:
        number, created, fingerprint, bcrypt_hash = _HEAD.unpack_from(packed)
        prefix, name, user_id, *others = _texts(packed)
        _, lineage_id, superseded_by, *ends = others or (1, key_id, "", "", "", "")
        expires_at, revoked_at, valid_until = map(_time, ends)
        *terms, pepper_id = self._terms[number]
        return Key(
            key_id=key_id,
            lineage_id=lineage_id,
            settings=KeySettings(name, user_id, *terms),
            key_prefix=prefix,
            bcrypt_hash=bcrypt_hash.decode(),
            fingerprint=fingerprint,
            pepper_id=pepper_id,
            created_at=_EPOCH + created * _MICROSECOND,
            expires_at=expires_at,
            revoked_at=revoked_at,
            superseded_by=superseded_by or None,
            valid_until=valid_until,
        )

    def pepper_id(self, packed: bytes) -> str:
        (number,) = _NUMBER.unpack_from(packed)
        pepper_id: str = self._terms[number].pepper_id
        return pepper_id

    def _new_number(self, terms: Terms | str) -> int:
        if isinstance(terms, str):
            service_id, environment, scopes, allowed_ips, *others = orjson.loads(terms)
            parsed = Terms(service_id, environment, tuple(scopes), tuple(allowed_ips), *others)
            number = self._numbers.get(parsed)
            self._numbers[terms] = number = self._new_number(parsed) if number is None else number
            return number
        self._numbers[terms] = len(self._terms)
        self._terms.append(terms)
        return len(self._terms) - 1


def lineage_of(key_id: str, packed: bytes) -> str:
    """The lineage that a packed key belongs to."""
    _, _, _, *others = _texts(packed)
    return others[1] if others else key_id


def sequence_of(packed: bytes) -> int:
    """The sequence of the key's lineage when this was packed."""
    _, _, _, *others = _texts(packed)
    return int(others[0]) if others else 1


def _texts(packed: bytes) -> list[str]:
    return packed[_HEAD.size :].decode().split("\0")


def _microseconds(time: datetime) -> int:
    return (time - _EPOCH) // _MICROSECOND


def _time(microseconds: str) -> datetime | None:
    return _EPOCH + int(microseconds) * _MICROSECOND if microseconds else None
