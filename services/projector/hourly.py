"""Sums that `usage.hourly` does not have yet -> `usage.hourly`; what limits a key -> `ratelimit.counters`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from events.batch_size import BatchSize
from events.clock import Clock
from events.kafka_cluster import partition_ends
from events.keeper.process import Opened
from events.log import BulkLog
from events.projection import OUTAGES
from events.queries import load_queries
from events.topics import LogSettings
from events.totals import hour_number
from events.waiting import wait_for
from services.projector.array_text import array_text
from services.projector.hourly_records import Totals, hourly_records, window_records
from services.projector.metrics import ProjectorMetrics

_QUERIES = load_queries("services.projector", "hourly.sql")

ROWS_AT_ONCE = 500
PAUSE_SECONDS = 0.1
#: So long a row is left to whoever has taken it. Who is slower is repaired: see `PublishedProjection`.
TAKEN_FOR = timedelta(seconds=2)


class HourlyPublisher:
    """Sends every row that is ahead of the topic. Any number of them share the rows."""

    def __init__(self, settings: LogSettings, clock: Clock, metrics: ProjectorMetrics) -> None:
        self._settings = settings
        self._topic = settings.hourly_usage
        self._counters = settings.rate_counters.name
        self._clock = clock
        self._metrics = metrics
        self._rows = BatchSize("publishing", ROWS_AT_ONCE, metrics.query_timeouts.labels("publishing").inc)

    @property
    def is_stalled(self) -> bool:
        """Whether not even one row can be sent."""
        return self._rows.is_stalled

    async def work(self, opened: Opened) -> None:
        """Publish until cancelled; see `Work`."""
        await self._read_back(opened)
        what = "Kafka and Postgres, to publish totals"
        while True:
            publish = partial(self._rows.run, partial(self.publish, opened))
            seen_to = await wait_for(what, publish, OUTAGES)
            if seen_to is None or seen_to < self._rows.now:
                await asyncio.sleep(PAUSE_SECONDS)

    async def publish(self, opened: Opened) -> int:
        """Send what nobody else is sending. Raises `OUTAGES`.

        Returns how many rows it has seen to, 500 at most: also those that the topic has already.
        """
        seen_to, rows = await _take(opened.pool, self._rows.now)
        await self._send(opened.log, rows)
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

    async def _send(self, log: BulkLog, rows: Sequence[Totals]) -> None:
        # The counts first: whoever dies in between sends both again.
        this_hour = hour_number(self._clock.seconds())
        limiting = [row for row in rows if hour_number(row.hour.timestamp()) >= this_hour - 1]
        await log.append_all(self._counters, window_records(limiting))
        await log.append_all(self._topic.name, hourly_records(rows, self._clock.now()))


async def _take(pool: AsyncConnectionPool[AsyncConnection[Any]], limit: int) -> tuple[int, Sequence[Totals]]:
    """How many rows were looked at, and those that are ours to send for the next two seconds."""
    async with pool.connection() as connection, connection.transaction():
        held = await (await connection.execute(_QUERIES["hold_unpublished"], {"rows": limit})).fetchall()
        if not held:
            return 0, ()
        key_ids, hours = map(array_text, zip(*held, strict=True))
        values = {"key_ids": key_ids, "hours": hours, "taken_for": TAKEN_FOR}
        taken = await (await connection.execute(_QUERIES["take_unpublished"], values)).fetchall()
    return len(held), [Totals(*row) for row in taken]


async def _has_seen(
    pool: AsyncConnectionPool[AsyncConnection[Any]], topic: str, ends: Mapping[int, int]
) -> bool:
    async with pool.connection() as connection:
        cursor = await connection.execute(_QUERIES["published_positions"], {"topic": topic})
        positions: dict[int, int] = dict(await cursor.fetchall())
    return all(positions.get(partition, 0) >= end for partition, end in ends.items())
