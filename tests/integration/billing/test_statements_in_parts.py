"""A statement that one record does not take counts once all its parts are read, whatever dies meanwhile."""

from __future__ import annotations

import itertools
import signal
from datetime import datetime, timedelta
from typing import Any

import pytest
from psycopg import AsyncConnection

from events.codec import decode_total
from events.totals import StatementClosed, StatementRevisions
from services.billing.books import PostgresBooks
from services.billing.drafting import draft
from services.billing.ledger import LedgerProjection
from services.billing.months import due_at
from services.billing.parts import LARGEST_RECORD_BYTES, records_of
from services.billing.ports import Closed, Outgoing
from services.billing.statements import StatementsProjection
from tests.billing_builders import FEBRUARY, JANUARY, TOPICS, an_hour, books, record_of
from tests.builders import StoredRecord, a_key_created, fresh_id
from tests.integration.billing.world import World, eventually, when_due

pytestmark = pytest.mark.anyio

#: Each used so often in every hour of January, they are more than a record takes.
KEYS = 39
HOURS = 31 * 24
REQUESTS = 10**14


def _nobody() -> None:
    raise AssertionError("a record was not understood")


async def test_killed_between_two_parts_it_is_sent_again_unchanged_and_a_rebuild_knows_all_of_it(
    world: World,
) -> None:
    created, other = (a_key_created(monthly_prediction_limit=5) for _ in range(2))
    hours = [
        an_hour(
            key_id,
            JANUARY + timedelta(days=day),
            hour=hour,
            lineage_id=created.subject,
            requests=REQUESTS,
            predictions=0,
            compute_us=0,
            response_time_us=0,
        )
        for key_id in (created.subject, *(fresh_id() for _ in range(KEYS - 1)))
        for day, hour in itertools.product(range(31), range(24))
    ]
    await world.append(created)
    for first in range(0, len(hours), 2000):
        await world.append(*hours[first : first + 2000])
    assert await world.killed_billing(due_at(JANUARY), "sent one") == -signal.SIGKILL
    assert [key for key, _ in await world.sent()] == [f"{created.subject}/2026-01/2"]
    await world.append(other, an_hour(other.subject, JANUARY))
    async with world.billing(when_due(JANUARY)):
        found = await world.statements_are((created.subject, JANUARY), (other.subject, JANUARY))
        await world.caught_up()
        await world.verified()
    statement = found[f"{created.subject}/2026-01"]
    assert (statement.parts, statement.lines[0].requests) == (2, KEYS * HOURS * REQUESTS)
    sent = await world.sent()
    assert {key: len({value for name, value in sent if name == key}) for key, _ in sent} == {
        f"{created.subject}/2026-01": 1,
        f"{created.subject}/2026-01/2": 1,
        f"{other.subject}/2026-01": 1,
    }
    assert max(len(value) for _, value in sent) <= LARGEST_RECORD_BYTES
    assert await world.rows("SELECT count(*) FROM billing.hour WHERE named_revision = revision") == [
        (KEYS * HOURS + 1,)
    ]
    await world.rows("DROP SCHEMA billing CASCADE")
    async with world.billing(when_due(JANUARY)):
        await world.caught_up()

        async def all_is_named() -> bool:
            return await world.rows("SELECT FROM billing.hour WHERE named_revision <> revision LIMIT 1") == []

        await eventually(all_is_named, "every part to be applied")
    assert await world.sent() == sent
    await world.verified()


async def test_in_whatever_order_its_parts_are_read_it_counts_once_all_are(
    connection: AsyncConnection[Any],
) -> None:
    """They stand in several partitions. Until then nothing more is closed for its lineage."""
    lineage_id = fresh_id()
    parts = _parts(lineage_id)
    late = an_hour(lineage_id, JANUARY, hour=0, requests=99)
    for order in itertools.permutations(parts):
        await connection.execute(
            "TRUNCATE billing.hour, billing.statement, billing.statement_line, billing.statement_part"
        )
        await LedgerProjection(TOPICS, _nobody).apply(connection, [record_of(late)])
        for part in order[:-1]:
            await _read(connection, part)
        if any(part.part == 1 for part in order[:-1]):
            (found,) = await PostgresBooks(connection).due(FEBRUARY, None, 10)
            assert found.is_waiting
        await _read(connection, order[-1])
        await _read(connection, order[0])  # and once more
        (found,) = await PostgresBooks(connection).due(FEBRUARY, None, 10)
        assert not found.is_waiting
        assert await _named(connection) == _revisions(parts)


async def test_parts_of_a_statement_that_was_never_sent_name_nothing(
    connection: AsyncConnection[Any],
) -> None:
    """As after a crash, and a schema that was dropped before the statement was drafted anew."""
    lineage_id = fresh_id()
    lost, sent = _parts(lineage_id, requests=3), _parts(lineage_id, requests=4)
    for part in [*lost[1:], *sent[1:], sent[0], lost[0]]:
        await _read(connection, part)
    assert await _named(connection) == _revisions(sent)


async def test_bytes_that_were_sent_are_kept_until_every_part_is_read_back(
    connection: AsyncConnection[Any],
) -> None:
    parts = _parts(fresh_id())
    found = PostgresBooks(connection)
    await found.settle(parts)
    waiting = await found.outgoing(None, 10)
    assert [one.part for one in waiting] == [*range(len(parts), 1, -1), 1]
    assert await found.outgoing(waiting[0], 10) == waiting[1:]
    for part in parts[:-1]:
        await _read(connection, part)
        assert await found.forget_read_back() == 0
    await _read(connection, parts[-1])
    assert await found.forget_read_back() == 1
    assert await found.outgoing(None, 10) == []


def _parts(lineage_id: str, requests: int = 3) -> list[Outgoing]:
    hours = [an_hour(lineage_id, JANUARY, hour=hour, requests=requests) for hour in range(24)]
    values = records_of(draft(books(hours), JANUARY), 1000)
    assert len(values) > 2
    return [Outgoing(Closed(JANUARY, lineage_id), value, part) for part, value in values.items()]


async def _read(connection: AsyncConnection[Any], part: Outgoing) -> None:
    record = StoredRecord(TOPICS.statements.name, part.part, 0, key=part.record_key, value=part.value)
    async with connection.transaction():
        await StatementsProjection(TOPICS, _nobody).apply(connection, [record])


async def _named(connection: AsyncConnection[Any]) -> dict[datetime, int]:
    cursor = await connection.execute(
        "SELECT hour, named_revision FROM billing.hour WHERE named_revision > 0"
    )
    return dict(await cursor.fetchall())


def _revisions(parts: list[Outgoing]) -> dict[datetime, int]:
    named: dict[datetime, int] = {}
    for part in parts:
        event = decode_total(part.value)
        assert isinstance(event, StatementClosed | StatementRevisions)
        for hours in event.data.revisions.values():
            named |= {datetime.fromisoformat(f"{hour}:00+00:00"): number for hour, number in hours.items()}
    return named
