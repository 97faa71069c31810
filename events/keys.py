"""The facts of a key's life. They carry hashes; the secret itself is in none of them."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, StringConstraints, model_validator

from events.envelope import NO_NUL, Count, Envelope, Fact, KeyId, Positive, Text, UtcTime

Environment = Literal["production", "test", "development"]
MAX_LIFETIME_DAYS = 36_500

#: Of bcrypt hashes: at 15 a check takes two seconds of a core, at 31 it takes days.
MIN_BCRYPT_COST, MAX_BCRYPT_COST = 4, 14
#: A hash that `bcrypt` checks without an error, at a cost from 4 to 14. The 22 characters of the salt hold 16
#: bytes, so that the last one has four spellings; `bcrypt` refuses every other one.
_BCRYPT_HASH = r"^\$2[aby]\$(0[4-9]|1[0-4])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}$"
_IS_BCRYPT_HASH = re.compile(_BCRYPT_HASH).fullmatch

BcryptHash = Annotated[str, StringConstraints(pattern=_BCRYPT_HASH)]
Fingerprint = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class IssuedKey(Fact):
    """A key as it was issued: its settings and what verifies its secret."""

    key_id: KeyId
    lineage_id: KeyId = Field(description="key_id of the first key of the lineage")
    name: Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=NO_NUL)]
    user_id: Text
    service_id: Text
    environment: Environment
    scopes: tuple[Text, ...] = ()
    allowed_ips: tuple[Text, ...] = Field(
        default=(), description="addresses or CIDR networks; empty means any"
    )
    rate_limit_per_hour: Positive
    monthly_prediction_limit: Count | None = None
    billing_plan: Text
    expires_at: UtcTime | None = None
    lifetime_days: Annotated[int, Field(ge=1, le=MAX_LIFETIME_DAYS)] | None = Field(
        default=None, description="length of life that a rotation starts anew"
    )
    key_prefix: Text = Field(description="what may be displayed of the key")
    bcrypt_hash: BcryptHash = Field(repr=False)
    fingerprint: Fingerprint = Field(repr=False, description="BLAKE2b-256 of the key, keyed with the pepper")
    pepper_id: Text


class Rotation(Fact):
    """The old key gives way to a new one of the same lineage."""

    key_id: KeyId = Field(description="the key that is replaced")
    new_key: IssuedKey
    valid_until: UtcTime | None = Field(
        default=None, description="end of the old secret's grace; absent: it is dead once this is applied"
    )


class Revocation(Fact):
    """A key is dead. The current key of a lineage takes every other secret of the lineage with it."""

    key_id: KeyId
    reason: Text


class Refingerprinting(Fact):
    """A key whose pepper is retired or lost has a fingerprint under another pepper, made when it was used."""

    key_id: KeyId
    fingerprint: Fingerprint = Field(
        repr=False, description="as that of an issued key, keyed with the pepper"
    )
    pepper_id: Text


class LineageEvent(Envelope):
    """An event of `keys.lifecycle`: `partitionkey` is the lineage, `sequence` its position there from 1."""

    sequence: Positive


class KeyCreated(LineageEvent):
    """A lineage begins with its first key."""

    type: Literal["hokusai.auth.KeyCreated.v1"] = "hokusai.auth.KeyCreated.v1"
    data: IssuedKey

    @model_validator(mode="after")
    def _names_one_key(self) -> Self:
        if not self.subject == self.partitionkey == self.data.key_id == self.data.lineage_id:
            raise ValueError("subject, partitionkey, key_id and lineage_id of a created key must be equal")
        return self


class KeyRotated(LineageEvent):
    """The current key of a lineage is replaced. One record, so a rotation is atomic."""

    type: Literal["hokusai.auth.KeyRotated.v1"] = "hokusai.auth.KeyRotated.v1"
    data: Rotation

    @model_validator(mode="after")
    def _stays_in_its_lineage(self) -> Self:
        if self.subject != self.data.key_id or self.partitionkey != self.data.new_key.lineage_id:
            raise ValueError("subject must be the old key_id, partitionkey the new key's lineage_id")
        return self


class KeyRevoked(LineageEvent):
    """A key of a lineage is revoked."""

    type: Literal["hokusai.auth.KeyRevoked.v1"] = "hokusai.auth.KeyRevoked.v1"
    data: Revocation

    @model_validator(mode="after")
    def _names_its_key(self) -> Self:
        if self.subject != self.data.key_id:
            raise ValueError("subject must be the revoked key_id")
        return self


class KeyRefingerprinted(LineageEvent):
    """A key is found by another fingerprint from now on. Nothing else about it changes."""

    type: Literal["hokusai.auth.KeyRefingerprinted.v1"] = "hokusai.auth.KeyRefingerprinted.v1"
    data: Refingerprinting

    @model_validator(mode="after")
    def _names_its_key(self) -> Self:
        if self.subject != self.data.key_id:
            raise ValueError("subject must be the key_id of the key whose fingerprint it is")
        return self


KeyEvent = KeyCreated | KeyRotated | KeyRevoked | KeyRefingerprinted
#: The only list of them: schemas, channels and readers derive theirs from it.
KEY_EVENTS: tuple[type[LineageEvent], ...] = get_args(KeyEvent)


def is_bcrypt_hash(text: str) -> bool:
    """Whether an event may carry this hash: `bcrypt` can check it, in a second at most."""
    return _IS_BCRYPT_HASH(text) is not None
