"""Which records of keys.usage count: said by each record alone, to the millisecond."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta

import pytest

from events.codec import encode
from events.dead_letters import DeadLetter
from events.usage import KeyUsed
from services.projector.usage_judging import judge
from tests.builders import StoredRecord, a_key_created, some_usage
from tests.usage_records import usage_record

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
OLDEST, NEWEST = timedelta(days=35), timedelta(hours=1)


@pytest.mark.parametrize(
    "appended_after",
    [timedelta(0), OLDEST, -NEWEST],
    ids=["at once", "35 days late", "an hour early"],
)
def test_what_happened_around_its_append_counts(appended_after: timedelta) -> None:
    event = some_usage(time=NOON)
    assert judge(usage_record(event, NOON + appended_after)) == event


@pytest.mark.parametrize(
    ("appended_after", "reason"),
    [(OLDEST + MILLISECOND, "too old"), (-NEWEST - MILLISECOND, "in the future")],
    ids=["too old", "in the future"],
)
def test_what_happened_long_before_or_after_its_append_does_not(
    appended_after: timedelta, reason: str
) -> None:
    letter = judge(usage_record(some_usage(time=NOON), NOON + appended_after))
    assert isinstance(letter, DeadLetter)
    assert letter.reason == reason


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("predictions_count", -1),
        ("predictions_count", 10**9 + 1),
        ("predictions_count", 1.5),
        ("compute_ms", -0.1),
        ("response_time_ms", 86_400_001),
        ("status_code", 1000),
        ("endpoint", ""),
        ("endpoint", "NUL \0"),
        ("key_id", "another"),
    ],
)
def test_absurd_values_are_unreadable_and_not_quoted(name: str, value: object) -> None:
    envelope = json.loads(encode(some_usage(time=NOON, service_id="canary")))
    envelope["data"][name] = value
    letter = judge(_record_of(json.dumps(envelope).encode()))
    assert isinstance(letter, DeadLetter)
    assert letter.reason == "unreadable"
    assert "canary" not in letter.error


def test_an_event_of_a_key_is_no_use() -> None:
    letter = judge(_record_of(encode(a_key_created())))
    assert isinstance(letter, DeadLetter)
    assert letter.reason == "unreadable"


@pytest.mark.parametrize(
    ("size", "counts"), [(16 * 1024, True), (16 * 1024 + 1, False)], ids=["16 KiB", "over"]
)
def test_a_record_of_up_to_sixteen_kibibytes_is_read(size: int, *, counts: bool) -> None:
    value = encode(some_usage(time=NOON))
    judged = judge(_record_of(value + b" " * (size - len(value))))
    assert isinstance(judged, KeyUsed) == counts
    assert counts or (isinstance(judged, DeadLetter) and judged.reason == "oversized")


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
@pytest.mark.parametrize("timestamp", [-1, 2**63 - 1])
def test_any_time_is_judged(time: str, timestamp: int) -> None:
    event = some_usage(time=datetime.fromisoformat(time))
    assert isinstance(judge(dataclasses.replace(usage_record(event, NOON), timestamp=timestamp)), DeadLetter)


def _record_of(value: bytes) -> StoredRecord:
    return dataclasses.replace(usage_record(some_usage(time=NOON)), value=value)
