"""`usage.hourly` -> `billing.hour`: absolute totals of each key and hour, the highest revision wins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from psycopg import AsyncConnection

from events.dead_letters import DeadLetter
from events.log import Record
from events.queries import load_queries
from events.topics import Topics
from events.totals import HourlyTotals
from services.billing.reading import read_totals, readable

_QUERIES = load_queries("services.billing")


class LedgerProjection:
    """Keeps what is known of each key and hour, in whatever order it is told."""

    name = "ledger"
    dead_letter_topic = None

    def __init__(self, topics: Topics, on_unreadable: Callable[[], None]) -> None:
        self.topic = topics.hourly_usage
        self._on_unreadable = on_unreadable

    async def apply(
        self, connection: AsyncConnection[Any], records: Sequence[Record]
    ) -> Sequence[DeadLetter]:
        """See `Projection.apply`."""
        found = (totals for _, totals in readable(records, read_totals, self._on_unreadable))
        if rows := [ledger_row(totals) for totals in highest(found)]:
            columns = dict(zip(LedgerRow._fields, map(list, zip(*rows, strict=True)), strict=True))
            await connection.execute(_QUERIES["write_hours"], columns)
        return ()


class LedgerRow(NamedTuple):
    """What is known of a key and hour, in the order of the table's columns."""

    key_id: str
    hour: datetime
    lineage_id: str
    service_id: str
    revision: int
    requests: int
    errors: int
    predictions: int
    compute_us: int
    response_time_us: int


def highest(all_totals: Iterable[HourlyTotals]) -> list[HourlyTotals]:
    """The highest revision of each key and hour, sorted as the table is; of equals the first."""
    best: dict[tuple[str, datetime], HourlyTotals] = {}
    for totals in all_totals:
        place = (totals.key_id, totals.hour)
        if place not in best or totals.revision > best[place].revision:
            best[place] = totals
    return [best[place] for place in sorted(best)]


def ledger_row(totals: HourlyTotals) -> LedgerRow:
    return LedgerRow(**{column: getattr(totals, column) for column in LedgerRow._fields})
