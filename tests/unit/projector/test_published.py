"""What the topic last said about a row; whatever covers our record counts as nothing published."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from services.projector.hourly_records import Totals, hourly_records
from services.projector.published import last_revisions, row_of
from tests.builders import StoredRecord, fresh_id

HOUR = datetime(2026, 3, 10, 12, tzinfo=UTC)
KEY = "0190a0a0-0000-7000-8000-000000000001"


def test_the_last_record_counts_though_another_had_a_higher_revision() -> None:
    assert last_revisions([_record(5), _record(6), _record(4)]) == {(KEY, HOUR): 4}


@pytest.mark.parametrize("value", [None, b"{", b"other"], ids=["tombstone", "unreadable", "of another row"])
def test_a_record_that_says_nothing_about_its_row_covers_what_was_published(value: bytes | None) -> None:
    if value == b"other":
        value = _record(7, fresh_id()).value
    assert last_revisions([_record(6), dataclasses.replace(_record(7), value=value)]) == {(KEY, HOUR): 0}


@pytest.mark.parametrize(
    "key",
    [
        None,
        b"",
        b"\xff/2026-03-10T12",
        KEY.encode(),
        f"{KEY}/2026-03-10T24".encode(),
        f"{KEY}/2026-3-10T12".encode(),
        f"{KEY.upper()}/2026-03-10T12".encode(),
        f"{KEY}/2026-03-10T12/".encode(),
        b"key/2026-03-10T12",
    ],
)
def test_a_record_key_that_names_no_row_is_passed_over(key: bytes | None) -> None:
    assert row_of(key) is None
    assert last_revisions([dataclasses.replace(_record(5), key=key)]) == {}


def _totals(requests: int, key_id: str = KEY) -> Totals:
    return Totals(key_id, KEY, "platform", HOUR, requests, requests, 1, 2, 3, 4)


def _record(revision: int, key_id: str = KEY) -> StoredRecord:
    ((key, value),) = hourly_records([_totals(revision, key_id)], HOUR)
    return StoredRecord(topic="usage.hourly", key=key, value=value)
