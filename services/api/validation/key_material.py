"""The text of a key: how it is made, what may be shown of it, and the fingerprint it is found by."""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from events.shown_keys import MARKS, SECRET_LENGTH, SHAPE

ALPHABET = string.ascii_letters + string.digits

_SHAPE = re.compile(SHAPE.pattern.encode())


def generate_key(environment: str) -> str:
    """A new key: `hk_live_`, `hk_test_` or `hk_dev_` and 32 random characters (190 bits)."""
    secret = "".join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))
    return f"hk_{MARKS[environment]}_{secret}"


def is_well_formed(key: bytes) -> bool:
    """Whether this could be a key at all. Such a key is ASCII and short enough for bcrypt's 72 bytes."""
    return _SHAPE.fullmatch(key) is not None


@dataclass(frozen=True, slots=True)
class Pepper:
    """A secret that keys every fingerprint. `id` names it in events and gives nothing away.

    The id carries a digest of the secret, so that another secret under a reused name is another pepper.
    """

    name: str
    secret: str = field(repr=False)

    @property
    def id(self) -> str:
        digest = hashlib.blake2b(self.secret.encode(), digest_size=4, person=b"hokusai-pepper")
        return f"{self.name}.{digest.hexdigest()}"


class Fingerprints:
    """Keyed BLAKE2b-256 under each pepper, newest first. Raises nothing, whatever the bytes."""

    def __init__(self, peppers: Sequence[Pepper]) -> None:
        self.newest_id = peppers[0].id
        self.known_ids = frozenset(pepper.id for pepper in peppers)
        # Keyed once and copied per request: half the price of keying it each time.
        self._newest, *self._older = [
            hashlib.blake2b(key=hashlib.blake2b(pepper.secret.encode()).digest(), digest_size=32)
            for pepper in peppers
        ]

    def newest(self, key: bytes) -> bytes:
        """The 32 bytes that a new key is stored under."""
        return _fingerprint(self._newest, key)

    def older(self, key: bytes) -> Iterator[bytes]:
        """The 32 bytes under each pepper that came before the newest, younger ones first."""
        for prepared in self._older:
            yield _fingerprint(prepared, key)


def _fingerprint(prepared: hashlib.blake2b, key: bytes) -> bytes:
    digest = prepared.copy()
    digest.update(key)
    return digest.digest()
