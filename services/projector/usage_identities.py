"""Who has been counted is remembered by period of append: a table is made when it is needed, dropped later.

Batches address the table of each period by name, and none that is past is ever named again. So dropping one
waits for nobody who counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from psycopg import AsyncConnection, sql

from events.keeper.process import Opened, Work
from events.projection import OUTAGES
from events.queries import load_queries
from events.usage_identity import NEAR_PERIODS, PERIOD_MS
from events.waiting import wait_for
from services.projector.array_text import array_text
from services.projector.usage_duplicates import Remembered

_QUERIES = load_queries("services.projector", "usage.sql")

DROP_INTERVAL_SECONDS = 60.0
#: How far the broker's clock may go back without meeting a period that was dropped.
STEP_BACK_MS = 24 * 3_600_000

#: Where each partition of keys.usage ends now. Raises `LogUnavailable`.
Ends = Callable[[], Awaitable[Mapping[int, int]]]


async def lock_homes(connection: AsyncConnection[Any], homes: Collection[int]) -> None:
    """Until the transaction ends, no other one judges uses of keys whose records belong in these partitions.

    Who applies one partition meets nobody else here, unless emitters put records of its keys elsewhere.
    """
    await connection.execute(_QUERIES["lock_homes"], {"homes": sorted(homes)})


async def make_periods(connection: AsyncConnection[Any], periods: Collection[int]) -> Sequence[int]:
    """Within a transaction: see that there is a table for each. Returns all that there are, oldest first."""
    found = await _periods(connection)
    if set(periods) <= set(found):
        return found
    # One at a time, until it commits: the others find its tables then.
    await connection.execute(_QUERIES["lock_periods"])
    for period in sorted(set(periods) - set(await _periods(connection))):
        await connection.execute(sql.SQL(_QUERIES["create_period"]).format(name=_name(period)))
    return await _periods(connection)


async def find_remembered(
    connection: AsyncConnection[Any], identities: Iterable[str], periods: Iterable[int]
) -> Mapping[str, Sequence[Remembered]]:
    """All that is remembered of these identities in these periods; nearly always nothing."""
    asked, tables = sorted(set(identities)), [_name(period) for period in periods]
    if not asked or not tables:
        return {}
    in_period = sql.SQL(_QUERIES["remembered_in_period"])
    query = sql.SQL(_QUERIES["find_remembered"]).format(
        tables=sql.SQL(" UNION ALL ").join(in_period.format(name=name) for name in tables)
    )
    # Planned anew each time: the tables may have grown a thousandfold since the last plan.
    cursor = await connection.execute(query, {"identities": array_text(asked)}, prepare=False)
    found: dict[str, list[Remembered]] = {}
    for row in await cursor.fetchall():
        found.setdefault(row[0], []).append(Remembered(*row))
    return found


def near_periods(periods: Collection[int], known: Iterable[int]) -> Sequence[int]:
    """Which of the known ones may have records near some of these."""
    first, last = min(periods) - NEAR_PERIODS, max(periods) + NEAR_PERIODS
    return [period for period in known if first <= period <= last]


async def remember(connection: AsyncConnection[Any], remembered: Iterable[Remembered]) -> None:
    """The periods have tables."""
    # Sorted, so that an index takes many of them into one page.
    rows = sorted(remembered, key=lambda row: (row.period, row.identity))
    for period, of_period in groupby(rows, lambda row: row.period):
        query = sql.SQL(_QUERIES["copy_identities"]).format(name=_name(period))
        async with connection.cursor().copy(query) as copy:
            for row in of_period:
                await copy.write_row(row)


async def forget_facts(connection: AsyncConnection[Any], withdrawn: Iterable[Remembered]) -> None:
    """These count no longer."""
    for row in withdrawn:
        query = sql.SQL(_QUERIES["forget_facts"]).format(name=_name(row.period))
        await connection.execute(query, {"identity": row.identity, "partition": row.partition})


def dropping_periods(topic: str, ends: Ends) -> Work:
    """Once a minute: forget the periods that no record of the topic can be near any more."""

    async def work(opened: Opened) -> None:
        async def drop() -> None:
            async with opened.pool.connection() as connection:
                await drop_past_periods(connection, topic, ends)

        while True:
            await wait_for("Postgres and Kafka, to forget past periods", drop, OUTAGES)
            await asyncio.sleep(DROP_INTERVAL_SECONDS)

    return work


async def drop_past_periods(connection: AsyncConnection[Any], topic: str, ends: Ends) -> Sequence[int]:
    """Drop the periods that every partition of the topic has left behind it, by the broker's time.

    Never by a clock of ours: a rebuild that is at old records needs the old periods. Returns those dropped.
    Raises `LogUnavailable`, and `LockNotAvailable` when somebody reads such a table for too long.
    """
    newest = await (await connection.execute(_QUERIES["newest_append"])).fetchone()
    reached = await ends()
    values = {
        "topic": topic,
        "newest": newest[0] if newest else None,
        "partitions": list(reached),
        "ends": list(reached.values()),
    }
    row = await (await connection.execute(_QUERIES["reached_by_all"], values)).fetchone()
    if row is None or row[0] is None:
        return []
    needed = (row[0] - STEP_BACK_MS) // PERIOD_MS - NEAR_PERIODS
    past = [period for period in await _periods(connection) if period < needed]
    for period in past:
        async with connection.transaction():
            await connection.execute(_QUERIES["be_patient_for_a_moment"])
            await connection.execute(sql.SQL(_QUERIES["drop_period"]).format(name=_name(period)))
    return past


async def _periods(connection: AsyncConnection[Any]) -> Sequence[int]:
    cursor = await connection.execute(_QUERIES["periods"])
    return [period for (period,) in await cursor.fetchall()]


def _name(period: int) -> sql.Identifier:
    return sql.Identifier("projector", f"usage_identity_{period}")
