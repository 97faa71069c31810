"""The books in Postgres: the highest revision wins in any order, and all say the same of the same records."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from psycopg import AsyncConnection, sql

from events.codec import encode
from events.log import Position
from events.memory_log import MemoryLog
from events.topics import Topics
from events.totals import HourlyUsage
from services.billing.accounts import AccountsProjection
from services.billing.books import PostgresBooks, open_books
from services.billing.closing import Closing
from services.billing.delivery import Delivery
from services.billing.drafting import draft
from services.billing.ledger import LedgerProjection
from services.billing.metrics import BillingMetrics
from services.billing.months import due_at, month_of
from services.billing.ports import Closed, Ends
from services.billing.prices import price_of
from services.billing.rating import rate
from services.billing.statements import StatementsProjection
from services.billing.watermark import Watermark
from tests.billing_builders import FEBRUARY, JANUARY, MARCH, a_statement, an_hour, record_of, use_of
from tests.builders import StoredRecord, a_key_created, fresh_id, lifecycle_record
from tests.fakes import ManualTime

pytestmark = pytest.mark.anyio

TOPICS = Topics.from_environment({})


def _nobody() -> None:
    raise AssertionError("a record was not understood")


async def _apply(connection: AsyncConnection[Any], hours: Sequence[HourlyUsage], batch: int = 1000) -> None:
    projection = LedgerProjection(TOPICS, _nobody)
    for first in range(0, len(hours), batch):
        await projection.apply(connection, [record_of(one) for one in hours[first : first + batch]])


async def test_the_highest_revision_wins_in_whatever_order_and_batches_they_come(
    connection: AsyncConnection[Any],
) -> None:
    """And a month that is rated from them gives the same bytes each time."""
    created = a_key_created(monthly_prediction_limit=50)
    await AccountsProjection(TOPICS, _nobody).apply(connection, [lifecycle_record(created)])
    chance = random.Random(4)
    hours = [
        an_hour(key_id, JANUARY, hour=hour, lineage_id=created.subject, requests=revision)
        for key_id in (created.subject, fresh_id())
        for hour in range(6)
        for revision in range(1, 8)
    ]
    pictures, statements = [], []
    for batch in (1, 5, 1000):
        await connection.execute("TRUNCATE billing.hour")
        chance.shuffle(hours)
        await _apply(connection, hours, batch)
        await _apply(connection, hours[:9], batch)  # and once more
        rows = await (await connection.execute("SELECT row::text FROM billing.hour AS row")).fetchall()
        pictures.append(sorted(rows))
        (opened,) = await PostgresBooks(connection).open([Closed(JANUARY, created.subject)])
        statements.append(encode(draft(opened[1], JANUARY)))
    assert pictures[0] == pictures[1] == pictures[2]
    assert statements[0] == statements[1] == statements[2]
    sums = await connection.execute("SELECT count(*), sum(requests), max(revision) FROM billing.hour")
    assert await sums.fetchone() == (12, 12 * 7, 7)


async def test_the_view_of_months_costs_what_rating_says(connection: AsyncConnection[Any]) -> None:
    """In whatever zone the reader's session is; of a lineage that nobody has created nothing is over."""
    accounts = [a_key_created(monthly_prediction_limit=limit) for limit in (0, 10, 10_000, None)]
    await AccountsProjection(TOPICS, _nobody).apply(connection, [lifecycle_record(one) for one in accounts])
    hours = [
        an_hour(lineage_id, month.replace(day=day), hour=hour, requests=7 * day)
        for lineage_id in [*(one.subject for one in accounts), fresh_id()]
        for month in (JANUARY, FEBRUARY)
        for day in (1, 28)
        for hour in (0, 23)
    ]
    await _apply(connection, hours)
    limits = {one.subject: one.data.monthly_prediction_limit for one in accounts}
    wanted = []
    for lineage_id, month in {(one.subject, month_of(one.data.hour)) for one in hours}:
        use = use_of([one for one in hours if (one.subject, month_of(one.data.hour)) == (lineage_id, month)])
        charge = rate(use, limits.get(lineage_id), price_of(month))
        row = (lineage_id, month, use.requests, use.predictions, use.compute_us, charge.amount)
        wanted.append(row)
    for zone in ("UTC", "Pacific/Kiritimati"):
        await connection.execute(sql.SQL("SET timezone = {}").format(sql.Literal(zone)))
        found = await connection.execute(
            "SELECT lineage_id::text, month, requests, predictions, compute_us, overage FROM billing.months"
        )
        assert sorted(await found.fetchall()) == sorted(wanted)
    assert {row[-1] for row in wanted} >= {Decimal(0), Decimal("0.396")}


async def test_the_first_record_of_a_month_is_its_statement_and_later_ones_change_nothing(
    connection: AsyncConnection[Any],
) -> None:
    first = a_statement(requests=7)
    later = a_statement(lineage_id=first.subject, requests=9)
    projection = StatementsProjection(TOPICS, _nobody)
    await projection.apply(connection, [record_of(first, offset=3), record_of(later, offset=4)])
    await projection.apply(connection, [record_of(later, offset=5), record_of(first, offset=6)])
    found = await connection.execute("SELECT record_offset, total FROM billing.statement")
    assert await found.fetchall() == [(3, Decimal("0.007"))]
    found = await connection.execute("SELECT position, amount FROM billing.statement_line")
    assert await found.fetchall() == [(0, Decimal("0.007"))]
    found = await connection.execute("SELECT revision, named_revision FROM billing.hour")
    assert await found.fetchall() == [(0, 7)]


async def test_statements_that_are_read_before_the_ledger_leave_nothing_due(
    connection: AsyncConnection[Any],
) -> None:
    """As it happens while the schema is filled."""
    hour = an_hour(fresh_id(), JANUARY, requests=7)
    statement = a_statement(lineage_id=hour.subject, requests=7)
    await StatementsProjection(TOPICS, _nobody).apply(connection, [record_of(statement)])
    await _apply(connection, [hour])
    books = PostgresBooks(connection)
    assert await books.due(MARCH, None, 10) == []
    await _apply(connection, [an_hour(hour.subject, JANUARY, requests=8)])
    (found,) = await books.due(FEBRUARY, None, 10)
    assert (found.place, found.is_known, found.due.late_months) == (
        Closed(JANUARY, hour.subject),
        False,
        [JANUARY],
    )
    assert await books.due(JANUARY, None, 10) == []


class AppliedLog(MemoryLog):
    """A log of statements whose projection has passed each of them as soon as it is appended."""

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        super().__init__()
        self._connection = connection
        self.keys: list[bytes | None] = []

    async def append(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Position:
        position = await super().append(topic, key, value, headers)
        self.keys.append(key)
        record = StoredRecord(topic, position.partition, position.offset, key=key, value=value)
        await StatementsProjection(TOPICS, _nobody).apply(self._connection, [record])
        return position


async def test_no_month_is_closed_before_every_statement_that_the_log_holds_is_read(
    connection: AsyncConnection[Any], database_url: str
) -> None:
    """The ledger is filled again before the statements are, which one lineage has and the other has not."""
    closed, still_open = (a_key_created() for _ in range(2))
    accounts = [lifecycle_record(one) for one in (closed, still_open)]
    await AccountsProjection(TOPICS, _nobody).apply(connection, accounts)
    await _apply(connection, [an_hour(one.subject, JANUARY) for one in (closed, still_open)])

    async def ends() -> Ends:
        return {(TOPICS.statements.name, 3): 1, (TOPICS.statements.name, 4): 0}

    log = AppliedLog(connection)
    time = ManualTime(due_at(JANUARY))

    async def broker_time() -> datetime:
        return due_at(JANUARY)

    await connection.execute("UPDATE billing.watermark SET announced_until = '2100-01-01Z'")
    clock, metrics = time.clock(), BillingMetrics()
    delivery = Delivery(log, TOPICS.statements.name, clock, metrics)
    looking = Closing(delivery, Watermark(ends, broker_time), clock, metrics)
    async with open_books(database_url) as books:
        await looking.look(books)
    assert log.keys == []
    statement = a_statement(lineage_id=closed.subject, requests=1)
    await StatementsProjection(TOPICS, _nobody).apply(connection, [record_of(statement)])
    await connection.execute(
        "INSERT INTO billing.projection_offset VALUES ('statements', %s, 3, 1, 0)", (TOPICS.statements.name,)
    )
    async with open_books(database_url) as books:
        await looking.look(books)
    assert log.keys == [f"{still_open.subject}/2026-01".encode()]
