"""Records of the three topics as billing understands them; what it cannot understand is skipped, and told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TypeVar

from events.codec import decode_total
from events.errors import UnreadableRecord
from events.keys import KeyCreated
from events.lifecycle import read_event
from events.log import Record
from events.totals import HourlyTotals, HourlyUsage, StatementClosed, hour_text

#: What a column of Postgres holds. Nobody uses so much, but a record can say anything.
LARGEST_BIGINT = 2**63 - 1
LARGEST_AMOUNT = Decimal(10**15)
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)

T = TypeVar("T")
logger = logging.getLogger(__name__)


def read_totals(record: Record) -> HourlyTotals:
    """The totals in a record of `usage.hourly`. Raises `UnreadableRecord`."""
    event = decode_total(record.value)
    if not isinstance(event, HourlyUsage):
        raise UnreadableRecord("not hourly totals")
    totals = event.data
    if totals.hour < _EARLIEST or (totals.hour.minute, totals.hour.second, totals.hour.microsecond) != (
        0,
        0,
        0,
    ):
        raise UnreadableRecord("data.hour: no hour begins then")
    _check_key(record, event.partitionkey, f"{totals.key_id}/{hour_text(totals.hour)}")
    _check_fits(totals.errors, totals.predictions, totals.compute_us, totals.response_time_us)
    return totals


def read_created(record: Record) -> KeyCreated | None:
    """The event that has made a lineage; None for what happens to it later. Raises `UnreadableRecord`."""
    event = read_event(record)
    return event if isinstance(event, KeyCreated) and event.sequence == 1 else None


def read_statement(record: Record) -> StatementClosed:
    """The statement in a record of `billing.statements`. Raises `UnreadableRecord`."""
    event = decode_total(record.value)
    if not isinstance(event, StatementClosed):
        raise UnreadableRecord("not a statement")
    statement = event.data
    if event.subject != statement.lineage_id:
        raise UnreadableRecord("subject differs from data.lineage_id")
    _check_key(record, event.partitionkey, f"{statement.lineage_id}/{statement.month}")
    amounts = [statement.total]
    for line in statement.lines:
        _check_fits(line.requests, line.predictions, line.compute_us, line.billable_predictions)
        amounts += [line.amount, line.unit_price]
    if any(abs(amount) > LARGEST_AMOUNT for amount in amounts):
        raise UnreadableRecord("an amount is out of range")
    try:
        for month in (statement.month, *(line.month for line in statement.lines)):
            parse_month(month)
        for hours in statement.revisions.values():
            for hour in hours:
                parse_hour(hour)
    except ValueError:
        raise UnreadableRecord("no such month or hour") from None
    return event


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


def _check_key(record: Record, partitionkey: str, wanted: str) -> None:
    if partitionkey != wanted:
        raise UnreadableRecord("partitionkey differs from data")
    if record.key != partitionkey.encode():
        raise UnreadableRecord("record key differs from partitionkey")


def _check_fits(*quantities: int) -> None:
    if any(abs(quantity) > LARGEST_BIGINT for quantity in quantities):
        raise UnreadableRecord("a quantity is out of range")
