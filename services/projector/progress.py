"""Up to when the uses of `keys.usage` are in `usage.hourly` -> `usage.progress`, so that billing can wait.

The order matters. A probe has the broker tell the time, then the ends of `keys.usage` are asked for, the rows
have to pass them, and then every row that waits to be published has to be seen in `usage.hourly`. What was
appended before the probe is in there then, whatever came later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

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
from services.projector.array_text import array_text
from services.projector.hourly_records import SOURCE
from services.projector.metrics import ProjectorMetrics

_QUERIES = load_queries("services.projector", "hourly.sql")

ROWS_AT_ONCE = 5000
INTERVAL_SECONDS = 2.0
POLL_SECONDS = 0.1

Pool = AsyncConnectionPool[AsyncConnection[Any]]
Ends = Callable[[], Awaitable[Mapping[int, int]]]


class WaitingRow(NamedTuple):
    """A row that `usage.hourly` has to be told, and the revision that it has by now."""

    key_id: str
    hour: datetime
    revision: int


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
        page: Sequence[WaitingRow] = await _waiting_rows(pool, None, self._rows.now)
        while page:
            last = page[-1]
            while page := await _still_waiting(pool, page):
                await asyncio.sleep(POLL_SECONDS)
            page = await _waiting_rows(pool, last, self._rows.now)
        return await self._schema_that_has_passed(pool, ends) == before

    async def _schema_that_has_passed(self, pool: Pool, ends: Mapping[int, int]) -> int | None:
        """Which schema it is (another one after a rebuild), if its rows have passed these ends."""
        async with pool.connection() as connection:
            cursor = await connection.execute(_QUERIES["usage_positions"], {"topic": self._usage})
            rows = await cursor.fetchall()
        positions = {partition: next_offset for _, partition, next_offset in rows}
        has_passed = all(positions.get(partition, 0) >= end for partition, end in ends.items())
        return int(rows[0][0]) if has_passed else None


async def _waiting_rows(pool: Pool, after: WaitingRow | None, limit: int) -> Sequence[WaitingRow]:
    """The next page of what is unpublished; of a row that has changed meanwhile in its later revision."""
    values = {"key_id": after and after.key_id, "hour": after and after.hour, "rows": limit}
    async with pool.connection() as connection:
        cursor = await connection.execute(_QUERIES["unpublished_after"], values)
        return [WaitingRow(*row) for row in await cursor.fetchall()]


async def _still_waiting(pool: Pool, rows: Sequence[WaitingRow]) -> Sequence[WaitingRow]:
    key_ids, hours, revisions = map(array_text, zip(*rows, strict=True))
    values = {"key_ids": key_ids, "hours": hours, "revisions": revisions}
    async with pool.connection() as connection:
        cursor = await connection.execute(_QUERIES["still_unpublished"], values)
        return [WaitingRow(*row) for row in await cursor.fetchall()]
