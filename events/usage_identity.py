"""What makes two reports one use: its identity, what it states, and for how long both are remembered."""

from __future__ import annotations

from hashlib import blake2b

from events.log import LATEST_MS
from events.usage import Usage

DAY_MS = 24 * 3_600_000
#: Identities are remembered by the period in which their record was appended, as the broker dates it.
PERIOD_MS = 12 * DAY_MS
#: Two records are of one use only if they were appended at most so many periods apart: 36 days are near,
#: 49 are not. The same event is never taken twice, because it cannot be appended 36 days apart and be taken
#: both times: it is too old after 35 days, and was in the future until an hour before its time.
NEAR_PERIODS = 3
IDENTITY_LENGTH = 32

_UUID_LENGTH, _UUID7_VERSION_AT = 36, 14
_MILLISECONDS_LENGTH = len("1772366400250")
_DECIMAL = frozenset("0123456789")
_HEXADECIMAL = frozenset("0123456789abcdefABCDEF")


def period_of(appended_ms: int) -> int:
    """The period of a record that was appended then (ms since 1970, UTC)."""
    return min(max(appended_ms, 0), LATEST_MS) // PERIOD_MS


def identity_of(key_id: str, event_id: str) -> str:
    """128 bits that stand for (`key_id`, `id`), as hexadecimal digits.

    Where the id tells when it was made, the identity begins with that time: an index of identities then grows
    at its end, and is not read from disk for every use.
    """
    digest = blake2b(f"{key_id}/{event_id}".encode(), digest_size=16).hexdigest()
    return (_made_at(event_id) + digest)[:IDENTITY_LENGTH]


def content_of(use: Usage) -> int:
    """64 bits that stand for what a use states.

    Without its time: a report that is sent again over HTTP has another one, as has one that leaves its time
    to the broker. Without envelope: who sends again may go by another name.
    """
    # No text holds a NUL.
    stated = (
        f"{use.service_id}\0{use.endpoint}\0{use.status_code}\0{use.predictions_count}"
        f"\0{microseconds(use.compute_ms)}\0{microseconds(use.response_time_ms)}"
    )
    return int.from_bytes(blake2b(stated.encode(), digest_size=8).digest(), signed=True)


def microseconds(milliseconds: float) -> int:
    """Whole ones: they add up to the same sum in any order."""
    return round(milliseconds * 1000)


def _made_at(event_id: str) -> str:
    """When a UUIDv7, or an id that ends in a dash and milliseconds since 1970, says that it was made.

    In steps of 256 ms, as eight hexadecimal digits, which begin anew after 35 years; empty for other ids.
    """
    if len(event_id) == _UUID_LENGTH and event_id[_UUID7_VERSION_AT] == "7":
        digits = event_id[2:8] + event_id[9:11]
        return digits.lower() if _HEXADECIMAL.issuperset(digits) else ""
    head, digits = event_id[:-_MILLISECONDS_LENGTH], event_id[-_MILLISECONDS_LENGTH:]
    if head.endswith("-") and _DECIMAL.issuperset(digits):
        return f"{int(digits) >> 8 & 0xFFFFFFFF:08x}"
    return ""
