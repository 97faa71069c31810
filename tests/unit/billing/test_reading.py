"""What billing takes from a record, and what it refuses before Postgres would."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from events.codec import encode
from events.errors import UnreadableRecord
from events.totals import HourlyUsage, StatementClosed
from services.billing.reading import read_created, read_progress, read_statement, read_totals, readable
from tests.billing_builders import JANUARY, a_statement, an_hour, record_of
from tests.builders import (
    StoredRecord,
    a_key_created,
    a_key_revoked,
    a_key_rotated,
    a_refingerprinting,
    fresh_id,
    lifecycle_record,
    some_usage,
)
from tests.totals import some_published_usage

TOTALS, STATEMENT = an_hour(fresh_id(), JANUARY), a_statement()
(LINE,) = STATEMENT.data.lines


def test_totals_and_statements_are_read_as_they_were_written() -> None:
    assert read_totals(record_of(TOTALS)) == TOTALS.data
    assert read_statement(record_of(STATEMENT)) == STATEMENT


@pytest.mark.parametrize(
    "record",
    [
        StoredRecord(key=b"x"),
        record_of(TOTALS, key=b"another"),
        record_of(STATEMENT),
        StoredRecord(key=b"x", value=encode(some_usage())),
        record_of(TOTALS.model_copy(update={"partitionkey": "another"}), key=b"another"),
        record_of(an_hour(fresh_id(), JANUARY.replace(year=1))),
    ],
    ids=["no value", "key", "statement", "event", "partitionkey", "year 1"],
)
def test_what_is_no_hourly_total_is_refused(record: StoredRecord) -> None:
    with pytest.raises(UnreadableRecord):
        read_totals(record)


def _statement(**data: Any) -> StatementClosed:
    return STATEMENT.model_copy(update={"data": STATEMENT.data.model_copy(update=data)})


def _line(**data: Any) -> StatementClosed:
    return _statement(lines=(LINE.model_copy(update=data),))


@pytest.mark.parametrize(
    "event",
    [
        TOTALS,
        STATEMENT.model_copy(update={"subject": fresh_id()}),
        _statement(month="2026-02"),
        _statement(revisions={fresh_id(): {"2026-99-99T99": 1}}),
        _line(month="0000-01"),
    ],
    ids=["totals", "subject", "month", "no hour", "no month"],
)
def test_what_is_no_statement_is_refused(event: HourlyUsage | StatementClosed) -> None:
    with pytest.raises(UnreadableRecord):
        read_statement(record_of(event))


def test_progress_is_read_and_what_only_asks_for_the_time_is_none() -> None:
    event = some_published_usage()
    record = StoredRecord("usage.progress", key=event.partitionkey.encode(), value=encode(event))
    assert read_progress(record) == event.data.complete_until
    assert read_progress(StoredRecord("usage.progress", key=b"broker-time", value=None)) is None
    for key, value in ((b"another", encode(event)), (b"usage", encode(a_statement())), (b"usage", b"{")):
        with pytest.raises(UnreadableRecord):
            read_progress(StoredRecord("usage.progress", key=key, value=value))


def test_an_account_begins_with_the_first_event_of_a_lineage_and_with_no_other() -> None:
    created = a_key_created()
    assert read_created(lifecycle_record(created)) == created
    for later in (a_key_rotated(created), a_key_revoked(created), a_refingerprinting(created)):
        assert read_created(lifecycle_record(later)) is None
    assert read_created(lifecycle_record(a_key_created(sequence=2))) is None


def test_what_cannot_be_read_is_told_with_its_place_and_skipped(caplog: pytest.LogCaptureFixture) -> None:
    told: list[bool] = []
    records = [
        record_of(TOTALS),
        StoredRecord(topic="t", partition=3, offset=7, value=b"s3cret"),
        record_of(TOTALS),
    ]
    with caplog.at_level(logging.WARNING):
        found = [totals for _, totals in readable(records, read_totals, lambda: told.append(True))]
    assert found == [TOTALS.data] * 2
    assert len(told) == 1
    assert "t/3@7" in caplog.text
    assert "s3cret" not in caplog.text
