"""The node's counts -> `ratelimit.counters`: soon where a limit is near, and all of them in the end."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterator

from pydantic import ValidationError

from events.clock import Clock
from events.codec import encode
from events.errors import LogUnavailable
from events.log import EventLog
from events.totals import WindowCount
from services.api.limits.due import Due, DueListener
from services.api.limits.lineage_counts import acknowledge, count_of
from services.api.limits.scan import Scan
from services.api.limits.slot import HIGH, LINEAGE, LOW, text_of
from services.api.limits.window_tables import WindowTables
from services.api.metrics import Metrics

logger = logging.getLogger(__name__)

#: So many counts are on their way at once.
SENDERS = 32
#: A count that is due waits so long for more.
GATHER_SECONDS = 0.01
LOOK_SECONDS = 0.05
#: So many wait to be sent before the tables are looked through any further.
LONGEST_QUEUE = 10_000
YIELD_EVERY = 500
LONGEST_PAUSE_SECONDS = 5.0


class CounterPublisher:
    """Sends the count of every window that is due. Nobody waits for it; a window waits at most once.

    While the log is away windows stay due, and what is sent afterwards is what they have counted by then.
    Which are due stands in the tables, so a publisher that starts goes on where another was killed.
    """

    def __init__(
        self,
        tables: WindowTables,
        due: DueListener,
        node_id: str,
        log: EventLog,
        topic: str,
        clock: Clock,
        metrics: Metrics,
        flush_seconds: float = 2.0,
    ) -> None:
        self._tables = tables
        self._listener = due
        self._node_id = node_id
        self._log = log
        self._topic = topic
        self._clock = clock
        self._metrics = metrics
        self._flush_seconds = flush_seconds
        self._queue: asyncio.Queue[Due] = asyncio.Queue()
        self._queued: set[Due] = set()
        self._scan = Scan(tables)
        self._is_failing = False

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._look())
            for _ in range(SENDERS):
                tasks.create_task(self._send_due())

    async def flush(self) -> None:
        """Send all that the log doesn't have yet; give up when it does not take it within seconds."""
        waiting = self._scan.unpublished()
        sending = [asyncio.create_task(self._send_all(waiting)) for _ in range(SENDERS)]
        _, late = await asyncio.wait(sending, timeout=self._flush_seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
        if left := sum(1 for _ in self._scan.unpublished()):
            logger.warning("the last counts of %d lineages were not published: the log is away", left)

    async def _listen(self) -> None:
        while True:
            for due in await self._listener.receive():
                self._enqueue(due)

    async def _look(self) -> None:
        while True:
            now = self._clock.seconds()
            for looked_at, due in enumerate(self._scan.new(now)):
                self._enqueue(due)
                if looked_at % YIELD_EVERY == 0:
                    await asyncio.sleep(0)
                while self._queue.qsize() >= LONGEST_QUEUE:
                    await asyncio.sleep(LOOK_SECONDS)
            self._report(now)
            await asyncio.sleep(LOOK_SECONDS)

    def _report(self, now_seconds: float) -> None:
        table = self._tables.existing(self._tables.number(now_seconds))
        known, slots, used = (table.lineages, table.slots, table.used) if table else (0, 0, 0)
        self._metrics.windows(known, self._queue.qsize())
        self._metrics.rate_table(slots, used)

    def _enqueue(self, due: Due) -> None:
        if due not in self._queued:
            self._queued.add(due)
            self._queue.put_nowait(due)

    async def _send_due(self) -> None:
        pause_seconds = 0.0
        while True:
            due = await self._queue.get()
            if self._queue.qsize() < SENDERS:
                # Whoever is near its limit is due again at once: gathering what comes meanwhile costs less
                # time than every reader's work with a record for each admission.
                await asyncio.sleep(GATHER_SECONDS)
            try:
                await self._send(due)
                pause_seconds = 0.0
            except (LogUnavailable, MemoryError) as error:
                self._queue.put_nowait(due)
                if not self._is_failing:
                    logger.warning("counts are not published until the log is back: %s", error)
                self._is_failing = True
                pause_seconds = min(LONGEST_PAUSE_SECONDS, 2 * pause_seconds + 0.1)
                await asyncio.sleep(pause_seconds * random.uniform(0.5, 1.0))  # noqa: S311

    async def _send(self, due: Due) -> None:
        table = self._tables.existing(due.number)
        slot = table.at(LINEAGE, due.place) if table is not None else None
        if table is None or slot is None:
            self._queued.discard(due)
            return
        count, last_used = count_of(table, slot)
        lineage_id = text_of((slot.numbers[HIGH], slot.numbers[LOW]))
        try:
            counter = WindowCount(
                node_id=self._node_id,
                kind="validations",
                lineage_id=lineage_id,
                hour=due.number,
                count=count,
                last_used=last_used,
            )
        except ValidationError:
            logger.exception("a count of %s is none: its table was damaged", lineage_id)
            acknowledge(table, slot, count)
            self._queued.discard(due)
            return
        await self._log.append(self._topic, lineage_id.encode(), encode(counter))
        self._queued.discard(due)
        if acknowledge(table, slot, count):
            self._enqueue(due)
        self._metrics.window_count_sent()
        if self._is_failing:
            self._is_failing = False
            logger.info("counts are published again")

    async def _send_all(self, waiting: Iterator[Due]) -> None:
        """Take one after the other, as long as there are any."""
        for due in waiting:
            await self._send(due)
