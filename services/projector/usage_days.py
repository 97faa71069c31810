"""Who has been counted is remembered by day of use: a day is made when it is needed, dropped when past it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import date
from typing import Any

from psycopg import AsyncConnection, sql

from events.keeper.process import Opened, Work
from events.projection import OUTAGES
from events.queries import load_queries
from events.waiting import wait_for

_QUERIES = load_queries("services.projector", "usage.sql")

DROP_INTERVAL_SECONDS = 60.0

#: Where each partition of keys.usage ends now. Raises `LogUnavailable`.
Ends = Callable[[], Awaitable[Mapping[int, int]]]


async def make_days(connection: AsyncConnection[Any], days: Collection[date]) -> None:
    """Within a transaction: see that there is a place for each of these days. Several may do so at once."""
    if not await _missing(connection, days):
        return
    # One at a time, until it commits: the others find its days then.
    await connection.execute(_QUERIES["lock_days"])
    for day in await _missing(connection, days):
        # Attached, because a partition made in its place would lock out everybody who is counting.
        for query in ("create_day", "attach_day"):
            await connection.execute(
                sql.SQL(_QUERIES[query]).format(
                    name=_name(day),
                    first=sql.Literal(day),
                    end=sql.Literal(date.fromordinal(day.toordinal() + 1)),
                )
            )


def dropping_days(topic: str, ends: Ends) -> Work:
    """Once a minute: forget the days that no event of the topic can be of any more that counts."""

    async def work(opened: Opened) -> None:
        async def drop() -> None:
            async with opened.pool.connection() as connection:
                await drop_past_days(connection, topic, ends)

        while True:
            await wait_for("Postgres and Kafka, to forget past days", drop, OUTAGES)
            await asyncio.sleep(DROP_INTERVAL_SECONDS)

    return work


async def drop_past_days(connection: AsyncConnection[Any], topic: str, ends: Ends) -> Sequence[date]:
    """Drop the days that every partition of the topic has left 36 days behind it, by the broker's time.

    Never by a clock of ours: a rebuild that is at old records needs the old days. Returns the days dropped.
    Raises `LockNotAvailable` when somebody who counts holds on for too long, `LogUnavailable`.
    """
    newest = await (await connection.execute(_QUERIES["newest_append"])).fetchone()
    reached = await ends()
    values = {
        "topic": topic,
        "newest": newest[0] if newest else None,
        "partitions": list(reached),
        "ends": list(reached.values()),
    }
    days = [day for (day,) in await (await connection.execute(_QUERIES["past_days"], values)).fetchall()]
    for day in days:
        async with connection.transaction():
            await connection.execute(_QUERIES["be_patient_for_a_moment"])
            await connection.execute(sql.SQL(_QUERIES["drop_day"]).format(name=_name(day)))
    return days


async def _missing(connection: AsyncConnection[Any], days: Collection[date]) -> Sequence[date]:
    if not days:
        return ()
    cursor = await connection.execute(_QUERIES["missing_days"], {"days": sorted(days)})
    return [day for (day,) in await cursor.fetchall()]


def _name(day: date) -> sql.Identifier:
    return sql.Identifier("projector", f"usage_identity_{day:%Y%m%d}")
