"""Records of the three topics as billing understands them; what it cannot understand is skipped, and told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from typing import TypeVar

from events.codec import decode_total
from events.errors import UnreadableRecord
from events.keys import KeyCreated
from events.lifecycle import read_event
from events.log import Record
from events.totals import HourlyTotals, HourlyUsage, Revisions, StatementClosed, StatementRevisions
from events.usage_progress import UsagePublished

#: No use is older, and years before 1000 have other texts.
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)

T = TypeVar("T")
logger = logging.getLogger(__name__)


def read_totals(record: Record) -> HourlyTotals:
    """The totals in a record of `usage.hourly`. Raises `UnreadableRecord`."""
    event = decode_total(record.value)
    if not isinstance(event, HourlyUsage):
        raise UnreadableRecord("not hourly totals")
    if event.data.hour < _EARLIEST:
        raise UnreadableRecord("data.hour: before 1970")
    _check_key(record, event.partitionkey)
    return event.data


def read_created(record: Record) -> KeyCreated | None:
    """The event that has made a lineage; None for what happens to it later. Raises `UnreadableRecord`."""
    event = read_event(record)
    return event if isinstance(event, KeyCreated) and event.sequence == 1 else None


def read_statement(record: Record) -> StatementClosed | StatementRevisions:
    """The statement, or the further part of one, in a record of `billing.statements`.

    Raises `UnreadableRecord`.
    """
    event = decode_total(record.value)
    if not isinstance(event, StatementClosed | StatementRevisions):
        raise UnreadableRecord("not a statement")
    _check_key(record, event.partitionkey)
    lines = event.data.lines if isinstance(event, StatementClosed) else ()
    try:
        for month in (event.data.month, *(line.month for line in lines)):
            parse_month(month)
        _check_hours(event.data.revisions)
    except ValueError:
        raise UnreadableRecord("no such month or hour") from None
    return event


def read_progress(record: Record) -> datetime | None:
    """Up to when uses are in `usage.hourly`; None where the broker was only asked for the time.

    Raises `UnreadableRecord`.
    """
    if record.value is None:
        return None
    event = decode_total(record.value)
    if not isinstance(event, UsagePublished):
        raise UnreadableRecord("no progress of usage")
    _check_key(record, event.partitionkey)
    return event.data.complete_until


def readable(
    records: Sequence[Record], read: Callable[[Record], T], on_unreadable: Callable[[], None]
) -> Iterator[tuple[Record, T]]:
    """Each record with what is in it; those that cannot be read are logged by their place and skipped."""
    for record in records:
        try:
            found = read(record)
        except UnreadableRecord as error:
            logger.warning("%s/%d@%d skipped: %s", record.topic, record.partition, record.offset, error)
            on_unreadable()
        else:
            yield record, found


def parse_month(text: str) -> date:
    """Raises `ValueError`."""
    return date.fromisoformat(f"{text}-01")


def parse_hour(text: str) -> datetime:
    """Raises `ValueError`."""
    return datetime.fromisoformat(f"{text}:00+00:00")


def _check_hours(revisions: Revisions) -> None:
    for hours in revisions.values():
        for hour in hours:
            parse_hour(hour)


def _check_key(record: Record, partitionkey: str) -> None:
    if record.key != partitionkey.encode():
        raise UnreadableRecord("record key differs from partitionkey")
