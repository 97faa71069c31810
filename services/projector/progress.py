"""Up to when the uses of `keys.usage` are in `usage.hourly` -> `usage.progress`, so that billing can wait.

The order matters. A probe has the broker tell the time, then the ends of `keys.usage` are asked for, the rows
have to pass them, and then every row that waits to be published has to be seen in `usage.hourly`. What was
appended before the probe is in there then, whatever came later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from events.batch_size import BatchSize
from events.codec import encode
from events.keeper.process import Opened
from events.projection import OUTAGES
from events.queries import load_queries
from events.topics import Topics
from events.usage_progress import RECORD_KEY, PublishedUsage, UsagePublished, broker_time
from events.waiting import wait_for
from services.projector.hourly_records import SOURCE
from services.projector.metrics import ProjectorMetrics
from services.projector.unpublished import PublishedSweep

_QUERIES = load_queries("services.projector", "hourly.sql")

ROWS_AT_ONCE = 5000
INTERVAL_SECONDS = 2.0
POLL_SECONDS = 0.1

Pool = AsyncConnectionPool[AsyncConnection[Any]]
Ends = Callable[[], Awaitable[Mapping[int, int]]]


class ProgressAnnouncer:
    """Announces up to when uses are published. Several processes may: what each says is true and stays so."""

    def __init__(self, topics: Topics, usage_ends: Ends, metrics: ProjectorMetrics) -> None:
        """`usage_ends` tells where each partition of keys.usage ends now."""
        self._usage = topics.usage.name
        self._topic = topics.usage_progress.name
        self._usage_ends = usage_ends
        self._metrics = metrics
        timed_out = metrics.query_timeouts.labels("announcing").inc
        self._rows = BatchSize("announcing what is published", ROWS_AT_ONCE, timed_out)

    @property
    def is_stalled(self) -> bool:
        """Whether not even one row can be looked at."""
        return self._rows.is_stalled

    async def work(self, opened: Opened) -> None:
        """Announce until cancelled; see `Work`."""
        what = "Kafka and Postgres, to announce what is published"
        while True:
            await wait_for(what, partial(self._rows.run, partial(self.announce, opened)), OUTAGES)
            await asyncio.sleep(INTERVAL_SECONDS)

    async def announce(self, opened: Opened) -> None:
        """Wait until all that is appended by now is published, and say so. Raises `OUTAGES`."""
        now = await broker_time(opened.log, self._topic)
        ends = await self._usage_ends()
        while not await self._is_published(opened.pool, ends):
            await asyncio.sleep(POLL_SECONDS)
        event = UsagePublished(
            source=SOURCE,
            subject=RECORD_KEY,
            partitionkey=RECORD_KEY,
            data=PublishedUsage(complete_until=now),
        )
        await opened.log.append(self._topic, event.partitionkey.encode(), encode(event))
        self._metrics.published_until.set(now.timestamp())

    async def _is_published(self, pool: Pool, ends: Mapping[int, int]) -> bool:
        """Whether usage.hourly has all up to these ends. False where a rebuild has begun meanwhile."""
        before = await self._schema_that_has_passed(pool, ends)
        if before is None:
            return False
        sweep = PublishedSweep()
        while not await self._is_over(pool, sweep):
            await asyncio.sleep(POLL_SECONDS)
        return await self._schema_that_has_passed(pool, ends) == before

    async def _is_over(self, pool: Pool, sweep: PublishedSweep) -> bool:
        async with pool.connection() as connection:
            return await sweep.is_over(connection, self._rows.now)

    async def _schema_that_has_passed(self, pool: Pool, ends: Mapping[int, int]) -> int | None:
        """Which schema it is (another one after a rebuild), if its rows have passed these ends."""
        async with pool.connection() as connection:
            cursor = await connection.execute(_QUERIES["usage_positions"], {"topic": self._usage})
            rows = await cursor.fetchall()
        positions = {partition: next_offset for _, partition, next_offset in rows}
        has_passed = all(positions.get(partition, 0) >= end for partition, end in ends.items())
        return int(rows[0][0]) if has_passed else None
