"""Sums that `usage.hourly` does not have yet -> `usage.hourly`; what limits a key -> `ratelimit.counters`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from events.clock import Clock
from events.codec import encode
from events.kafka_cluster import partition_ends
from events.keeper.process import Opened
from events.log import EventLog
from events.projection import OUTAGES
from events.queries import load_queries
from events.topics import LogSettings
from events.totals import HourlyTotals, HourlyUsage, WindowCount, hour_number
from events.waiting import wait_for
from services.projector.metrics import ProjectorMetrics
from services.projector.published import record_key

_QUERIES = load_queries("services.projector", "hourly.sql")

SOURCE = "hokusai-auth/projector"
ROWS_AT_ONCE = 500
PAUSE_SECONDS = 0.1
#: So long a row is left to whoever has taken it. Who is slower is repaired: see `PublishedProjection`.
TAKEN_FOR = timedelta(seconds=2)


class Totals(NamedTuple):
    """A row of `usage_hour`, and the service that its key was issued for."""

    key_id: str
    lineage_id: str
    service_id: str
    hour: datetime
    requests: int
    errors: int
    predictions: int
    compute_us: int
    response_time_us: int


class HourlyPublisher:
    """Sends every row that is ahead of the topic. Any number of them share the rows."""

    def __init__(self, settings: LogSettings, clock: Clock, metrics: ProjectorMetrics) -> None:
        self._settings = settings
        self._topic = settings.hourly_usage
        self._counters = settings.rate_counters.name
        self._clock = clock
        self._metrics = metrics

    async def work(self, opened: Opened) -> None:
        """Publish until cancelled; see `Work`."""
        await self._read_back(opened)
        what = "Kafka and Postgres, to publish totals"
        while True:
            seen_to = await wait_for(what, partial(self.publish, opened), OUTAGES)
            if seen_to < ROWS_AT_ONCE:
                await asyncio.sleep(PAUSE_SECONDS)

    async def publish(self, opened: Opened) -> int:
        """Send what nobody else is sending. Raises `OUTAGES`.

        Returns how many rows it has seen to, 500 at most: also those that the topic has already.
        """
        seen_to, rows = await _take(opened.pool)
        sent = await asyncio.gather(*(self._send(opened.log, row) for row in rows), return_exceptions=True)
        for outcome in sent:
            if isinstance(outcome, BaseException):
                raise outcome
        self._metrics.published_records.inc(len(rows))
        return seen_to

    async def _read_back(self, opened: Opened) -> None:
        """Wait until all that the topic holds now was seen: it knows best what it has been told."""
        ends = await wait_for(
            "Kafka, to publish totals", partial(partition_ends, self._settings, self._topic), OUTAGES
        )
        seen = partial(_has_seen, opened.pool, self._topic.name, ends)
        while not await wait_for("Postgres, to publish totals", seen, OUTAGES):
            await asyncio.sleep(PAUSE_SECONDS)

    async def _send(self, log: EventLog, row: Totals) -> None:
        # The count first: whoever dies in between sends both again.
        if hour_number(row.hour.timestamp()) >= hour_number(self._clock.seconds()) - 1:
            await log.append(self._counters, row.lineage_id.encode(), encode(window_count(row)))
        key = record_key(row.key_id, row.hour).encode()
        await log.append(self._topic.name, key, encode(hourly_usage(row, self._clock.now())))


def hourly_usage(row: Totals, now: datetime) -> HourlyUsage:
    """What `usage.hourly` is told about the row."""
    key = record_key(row.key_id, row.hour)
    return HourlyUsage(
        id=f"{key}/{row.requests}",
        source=SOURCE,
        time=now,
        subject=row.key_id,
        partitionkey=key,
        data=HourlyTotals(revision=row.requests, **row._asdict()),
    )


def window_count(row: Totals) -> WindowCount:
    """What limits the key: its reported use, as a node of its own."""
    return WindowCount(
        node_id=row.key_id,
        kind="reports",
        lineage_id=row.lineage_id,
        hour=hour_number(row.hour.timestamp()),
        count=row.requests,
    )


async def _take(pool: AsyncConnectionPool[AsyncConnection[Any]]) -> tuple[int, Sequence[Totals]]:
    """How many rows were looked at, and those that are ours to send for the next two seconds."""
    async with pool.connection() as connection, connection.transaction():
        held = await (
            await connection.execute(_QUERIES["hold_unpublished"], {"rows": ROWS_AT_ONCE})
        ).fetchall()
        if not held:
            return 0, ()
        key_ids, hours = zip(*held, strict=True)
        values = {"key_ids": list(key_ids), "hours": list(hours), "taken_for": TAKEN_FOR}
        taken = await (await connection.execute(_QUERIES["take_unpublished"], values)).fetchall()
    return len(held), [Totals(*row) for row in taken]


async def _has_seen(
    pool: AsyncConnectionPool[AsyncConnection[Any]], topic: str, ends: Mapping[int, int]
) -> bool:
    async with pool.connection() as connection:
        cursor = await connection.execute(_QUERIES["published_positions"], {"topic": topic})
        positions: dict[int, int] = dict(await cursor.fetchall())
    return all(positions.get(partition, 0) >= end for partition, end in ends.items())
