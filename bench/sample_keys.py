"""As many keys as a bench wants, made by our own events: everything about key n follows from n.

Nothing has to be kept: the secret of any key can be asked for again.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from events.codec import decode, encode
from events.keys import IssuedKey, KeyCreated, KeyEvent, KeyRevoked, KeyRotated, Revocation, Rotation
from services.api.validation.key_material import Fingerprints, Pepper

BEGAN = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
#: No limit that a bench reaches; those that want to reach one say so.
UNLIMITED = 10**12
PREFIX = "hk_live_"

SCOPES = ("model:read", "model:write", "mlflow:access")
NETWORKS = ("10.0.0.0/8", "192.0.2.7", "2001:db8::/32")
INSIDE = "10.1.2.3"

# What stands for a fact in a template; each is as valid as what takes its place.
_KEY, _NEW_KEY = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
_EVENT = "00000000-0000-4000-8000-000000000003"
_HASH, _FINGERPRINT, _NAME, _SHOWN = "$2b$12$" + "." * 53, "f" * 64, "the name of the key", "hk_live_zzz***"

Record = tuple[bytes, bytes]


class SampleKeys:
    """Key n, and the records of its life: (record key, value).

    Half of them (the odd ones) have scopes and an allowlist. Pydantic takes 20 microseconds an event, so
    each kind of event is encoded once, and only what differs is filled in.
    """

    def __init__(self, pepper: Pepper, rate_limit_per_hour: int = UNLIMITED) -> None:
        self._fingerprints = Fingerprints([pepper])
        self._limit = rate_limit_per_hour
        self._created = [_template(self._creation(is_fenced)) for is_fenced in (False, True)]
        self._rotated = [_template(self._rotation(is_fenced)) for is_fenced in (False, True)]
        self._revoked = _template(_revocation())
        for value in (self.created(0)[1], self.created(1)[1], self.rotated(0)[1], self.revoked(0)[1]):
            decode(value)

    def secret(self, number: int, generation: int = 0) -> str:
        """The full key; generation 1 is what its rotation has issued."""
        return PREFIX + _digest(f"secret {number} {generation}")

    def key_id(self, number: int, generation: int = 0) -> str:
        return str(UUID(hex=_digest(f"key {number} {generation}"), version=4))

    def created(self, number: int) -> Record:
        return self._record(self._created[number % 2], number, 0, self.key_id(number))

    def rotated(self, number: int) -> Record:
        """Without grace: the first secret is dead."""
        return self._record(self._rotated[number % 2], number, 1, self.key_id(number))

    def revoked(self, number: int) -> Record:
        """Of a key that was not rotated."""
        return self._record(self._revoked, number, 0, self.key_id(number))

    def lives(self, count: int) -> Iterator[Record]:
        """The log of so many keys: each tenth is rotated later, and the one after it revoked."""
        for number in range(count):
            yield self.created(number)
        for number in range(count):
            if number % 10 == 0:
                yield self.rotated(number)
            elif number % 10 == 1:
                yield self.revoked(number)

    def current(self, number: int) -> str | None:
        """The secret that passes at the end of `lives`."""
        if number % 10 == 1:
            return None
        return self.secret(number, generation=1 if number % 10 == 0 else 0)

    def some_current(self, count: int, most: int) -> list[str]:
        """The secrets that pass at the end of `lives`, of so many keys at most, chosen among all of them."""
        chosen = random.Random(3).sample(range(count), min(count, most))  # noqa: S311
        return [secret for number in chosen if (secret := self.current(number)) is not None]

    def _record(self, template: bytes, number: int, generation: int, key_id: str) -> Record:
        secret = self.secret(number, generation).encode()
        hashed = hashlib.blake2b(secret, digest_size=27).hexdigest()[:53]
        key = key_id.encode()
        value = template % {
            b"key": key,
            b"new_key": self.key_id(number, 1).encode(),
            b"event": _digest(f"event {key_id} {generation}").encode(),
            b"hash": b"$2b$12$%b.%b" % (hashed[:21].encode(), hashed[22:].encode()),
            b"fingerprint": self._fingerprints.newest(secret).hex().encode(),
            b"name": b"key number %d" % number,
            b"shown": secret[: len(PREFIX) + 3] + b"***",
        }
        return key, value

    def _creation(self, is_fenced: bool) -> KeyCreated:
        return KeyCreated(**_envelope(1), partitionkey=_KEY, subject=_KEY, data=self._issued(_KEY, is_fenced))

    def _rotation(self, is_fenced: bool) -> KeyRotated:
        rotation = Rotation(key_id=_KEY, new_key=self._issued(_NEW_KEY, is_fenced))
        return KeyRotated(**_envelope(2), partitionkey=_KEY, subject=_KEY, data=rotation)

    def _issued(self, key_id: str, is_fenced: bool) -> IssuedKey:
        return IssuedKey(
            key_id=key_id,
            lineage_id=_KEY,
            name=_NAME,
            user_id="admin",
            service_id="platform",
            environment="production",
            scopes=SCOPES if is_fenced else (),
            allowed_ips=NETWORKS if is_fenced else (),
            rate_limit_per_hour=self._limit,
            monthly_prediction_limit=100_000 if is_fenced else None,
            billing_plan="free",
            key_prefix=_SHOWN,
            bcrypt_hash=_HASH,
            fingerprint=_FINGERPRINT,
            pepper_id=self._fingerprints.newest_id,
        )


def _revocation() -> KeyRevoked:
    revocation = Revocation(key_id=_KEY, reason="requested")
    return KeyRevoked(**_envelope(2), partitionkey=_KEY, subject=_KEY, data=revocation)


def _envelope(sequence: int) -> dict[str, Any]:
    return {"id": _EVENT, "source": "bench", "time": BEGAN, "actor": "admin", "sequence": sequence}


def _template(event: KeyEvent) -> bytes:
    """The event's bytes with gaps for what differs from key to key."""
    value = encode(event).replace(b"%", b"%%")
    for fact, gap in (
        (_NEW_KEY, b"%(new_key)s"),
        (_KEY, b"%(key)s"),
        (_EVENT, b"%(event)s"),
        (_HASH, b"%(hash)s"),
        (_FINGERPRINT, b"%(fingerprint)s"),
        (_NAME, b"%(name)s"),
        (_SHOWN, b"%(shown)s"),
    ):
        value = value.replace(fact.encode(), gap)
    return value


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
