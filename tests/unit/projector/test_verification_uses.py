"""The auditor's own count of uses takes memory that does not grow with the log."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from events.lifecycle import fold
from events.lineage import Lineage
from services.projector.verification_uses import CountedUses
from tests.builders import StoredRecord, a_key_created, fresh_id, lifecycle_record, some_usage
from tests.usage_records import usage_record

ROWS = 5000
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
CREATED = a_key_created()


def test_the_memory_it_takes_does_not_grow_with_the_number_of_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few more than wait in memory, and three times as many."""
    monkeypatch.setattr("events.keeper.spool.ROWS_IN_MEMORY", ROWS)
    few, many = (_peak_bytes(uses) for uses in (ROWS + ROWS // 5, 3 * ROWS))
    assert many < 1.3 * few


def _peak_bytes(uses: int) -> int:
    tracemalloc.start()
    try:
        with CountedUses([_lineage()], 12) as counted:
            for record in _records(uses):
                counted.add(record)
            counted.count()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _records(uses: int) -> Iterator[StoredRecord]:
    """So many different ones of one hour."""
    event_id = fresh_id()
    record = usage_record(some_usage(key_id=CREATED.subject, id=event_id, time=NOON))
    assert record.value is not None
    for number in range(uses):
        value = record.value.replace(event_id.encode(), b"use %d" % number)
        yield StoredRecord(record.topic, 0, number, record.timestamp, record.key, value)


def _lineage() -> Lineage:
    lineage = fold(lifecycle_record(CREATED), lambda _: None).lineage
    assert lineage is not None
    return lineage
