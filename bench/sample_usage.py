"""KeyUsed events, as many as a bench wants, encoded once and filled in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import uuid_utils

from bench.sample_keys import Record, SampleKeys
from events.codec import decode, encode
from events.usage import KeyUsed, Usage

_KEY, _EVENT = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000003"
_TIME = "2026-01-15T10:30:00.123456Z"
ENDPOINTS = 20


def some_uses(keys: SampleKeys, key_count: int, count: int, until: datetime) -> Iterator[Record]:
    """Distinct uses of so many keys in turn, spread over the four hours before `until`."""
    template = _template()
    ids = [keys.key_id(number).encode() for number in range(key_count)]
    decode(_fill(template, ids[0], until, 0))
    for number in range(count):
        time = until - timedelta(hours=4) * (1 - number / count)
        yield ids[number % key_count], _fill(template, ids[number % key_count], time, number)


def one_use(keys: SampleKeys, number: int, time: datetime, served: int) -> Record:
    """A use of key `number`."""
    key = keys.key_id(number).encode()
    return key, _fill(_template(), key, time, served)


def _fill(template: bytes, key: bytes, time: datetime, number: int) -> bytes:
    return template % {
        b"key": key,
        b"event": str(uuid_utils.uuid7()).encode(),
        b"time": time.isoformat().replace("+00:00", "Z").encode(),
        b"endpoint": b"%d" % (number % ENDPOINTS),
        b"ms": b"%d.%d" % (number % 97, number % 10),
    }


def _template() -> bytes:
    event = KeyUsed(
        id=_EVENT,
        source="bench",
        subject=_KEY,
        partitionkey=_KEY,
        time=datetime.fromisoformat(_TIME),
        actor="usage",
        data=Usage(
            key_id=_KEY,
            service_id="platform",
            endpoint="/api/v1/models/11111/predict",
            status_code=200,
            response_time_ms=22222.5,
            predictions_count=1,
            compute_ms=22222.5,
        ),
    )
    value = encode(event).replace(b"%", b"%%")
    for fact, gap in (
        (_KEY, b"%(key)s"),
        (_EVENT, b"%(event)s"),
        (_TIME, b"%(time)s"),
        ("11111", b"%(endpoint)s"),
        ("22222.5", b"%(ms)s"),
    ):
        value = value.replace(fact.encode(), gap)
    return value
