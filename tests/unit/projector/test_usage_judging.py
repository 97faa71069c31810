"""Which records of keys.usage count: said by each record alone, to the millisecond."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta

import pytest

from events.codec import encode
from events.dead_letters import DeadLetter
from events.log import Record
from events.usage import KeyUsed
from services.projector.usage_judging import ERRORS_TOLD, judge, one_letter_each
from tests.builders import StoredRecord, a_key_created, some_usage
from tests.usage_records import usage_record

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
OLDEST, NEWEST = timedelta(days=35), timedelta(hours=1)


def the_letter(record: Record) -> DeadLetter:
    (letter,) = judge(record)
    assert isinstance(letter, DeadLetter)
    return letter


@pytest.mark.parametrize(
    "appended_after",
    [timedelta(0), OLDEST, -NEWEST],
    ids=["at once", "35 days late", "an hour early"],
)
def test_what_happened_around_its_append_counts(appended_after: timedelta) -> None:
    event = some_usage(time=NOON)
    assert judge(usage_record(event, NOON + appended_after)) == [event]


@pytest.mark.parametrize(
    ("appended_after", "reason"),
    [(OLDEST + MILLISECOND, "too old"), (-NEWEST - MILLISECOND, "in the future")],
    ids=["too old", "in the future"],
)
def test_what_happened_long_before_or_after_its_append_does_not(
    appended_after: timedelta, reason: str
) -> None:
    letter = the_letter(usage_record(some_usage(time=NOON), NOON + appended_after))
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
    letter = the_letter(_record_of(json.dumps(envelope).encode()))
    assert letter.reason == "unreadable"
    assert "canary" not in letter.error


def test_an_event_of_a_key_is_no_use() -> None:
    letter = the_letter(_record_of(encode(a_key_created())))
    assert letter.reason == "unreadable"


@pytest.mark.parametrize(
    ("size", "counts"), [(16 * 1024, True), (16 * 1024 + 1, False)], ids=["16 KiB", "over"]
)
def test_a_record_of_up_to_sixteen_kibibytes_is_read(size: int, *, counts: bool) -> None:
    value = encode(some_usage(time=NOON))
    (judged,) = judge(_record_of(value + b" " * (size - len(value))))
    assert isinstance(judged, KeyUsed) == counts
    assert counts or (isinstance(judged, DeadLetter) and judged.reason == "oversized")


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
@pytest.mark.parametrize("timestamp", [-1, 2**63 - 1])
def test_any_time_is_judged(time: str, timestamp: int) -> None:
    event = some_usage(time=datetime.fromisoformat(time))
    assert the_letter(dataclasses.replace(usage_record(event, NOON), timestamp=timestamp))


def test_a_use_without_a_time_happened_when_it_was_appended() -> None:
    """So that it is never late, in a rebuild years later neither."""
    envelope = json.loads(encode(some_usage(time=NOON)))
    del envelope["time"]
    for appended_at in (NOON, NOON + 300 * OLDEST):
        record = dataclasses.replace(
            _record_of(json.dumps(envelope).encode()), timestamp=int(appended_at.timestamp() * 1000)
        )
        (use,) = judge(record)
        assert isinstance(use, KeyUsed)
        assert use.time == appended_at


def test_each_use_of_a_batch_is_judged_by_itself() -> None:
    right, late = some_usage(time=NOON), some_usage(time=NOON - OLDEST - MILLISECOND)
    judged = judge(_batch_of([right, late, some_usage(time=NOON, id="7"), right]))
    assert [use for use in judged if isinstance(use, KeyUsed)] == [right, judged[2], right]
    assert [use.reason for use in judged if isinstance(use, DeadLetter)] == ["too old"]


def test_a_record_has_one_letter_with_all_that_is_wrong_in_it() -> None:
    late = [some_usage(time=NOON - OLDEST - MILLISECOND) for _ in range(ERRORS_TOLD + 5)]
    records = [_batch_of(late), _batch_of([late[0]])]
    letters = [letter for record in records for letter in judge(record) if isinstance(letter, DeadLetter)]
    many, single = one_letter_each(letters)
    assert (many.record, single.record) == (records[0], records[1])
    assert many.reason == single.reason == "too old"
    assert many.error.count("too old: ") == ERRORS_TOLD
    assert many.error.endswith("; and 5 more")
    assert single == letters[-1]


def _batch_of(events: list[KeyUsed]) -> StoredRecord:
    value = b"[" + b",".join(encode(event) for event in events) + b"]"
    headers = (("content-type", b"application/cloudevents-batch+json"),)
    return dataclasses.replace(_record_of(value), headers=headers)


def _record_of(value: bytes) -> StoredRecord:
    return dataclasses.replace(usage_record(some_usage(time=NOON)), value=value)
