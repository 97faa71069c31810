"""This worker's counts -> `ratelimit.counters`: soon where a limit is near, and all of them in the end."""

from __future__ import annotations

import asyncio
import logging
import random

from events.clock import Clock
from events.codec import encode
from events.errors import LogUnavailable
from events.log import EventLog
from services.api.metrics import Metrics
from services.api.node_windows import NodeWindows
from services.api.rate_windows import RateWindows, Window

logger = logging.getLogger(__name__)

#: So many counts are on their way at once.
SENDERS = 32
#: A count that is due waits so long for more.
GATHER_SECONDS = 0.01
SWEEP_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0
#: For all that is unpublished when the worker stops; a service has 10 s to end.
FLUSH_SECONDS = 2.0


class WindowPublisher:
    """Sends the count of every window that is due. Nobody waits for it; a window waits at most once.

    While the log is away windows stay due, and what is sent afterwards is what they have counted by then.
    """

    def __init__(
        self,
        windows: RateWindows,
        due: asyncio.Queue[Window],
        log: EventLog,
        topic: str,
        clock: Clock,
        metrics: Metrics,
        neighbours: NodeWindows,
    ) -> None:
        self._windows = windows
        self._neighbours = neighbours
        self._due = due
        self._log = log
        self._topic = topic
        self._clock = clock
        self._metrics = metrics
        self._is_failing = False

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sweep())
            for _ in range(SENDERS):
                tasks.create_task(self._send_due())

    async def flush(self) -> None:
        """Send all that the log doesn't have yet; give up when it does not take it within seconds."""
        waiting = self._windows.unpublished()
        sending = [asyncio.create_task(self._send_all(waiting)) for _ in waiting[:SENDERS]]
        if sending:
            _, late = await asyncio.wait(sending, timeout=FLUSH_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)
        if left := len(self._windows.unpublished()):
            logger.warning("the last counts of %d lineages were not published: the log is away", left)

    async def _sweep(self) -> None:
        while True:
            self._windows.sweep(self._clock.seconds())
            self._neighbours.look_around()
            self._metrics.windows(len(self._windows), self._due.qsize())
            await asyncio.sleep(SWEEP_SECONDS)

    async def _send_due(self) -> None:
        pause_seconds = 0.0
        while True:
            window = await self._due.get()
            # Whoever is near its limit is due again at once: gathering what comes meanwhile costs less
            # time than every reader's work with a record for each admission.
            await asyncio.sleep(GATHER_SECONDS)
            try:
                await self._send(window)
                pause_seconds = 0.0
            except (LogUnavailable, MemoryError) as error:
                self._due.put_nowait(window)
                if not self._is_failing:
                    logger.warning("counts are not published until the log is back: %s", error)
                self._is_failing = True
                pause_seconds = min(LONGEST_PAUSE_SECONDS, 2 * pause_seconds + 0.1)
                await asyncio.sleep(pause_seconds * random.uniform(0.5, 1.0))  # noqa: S311

    async def _send(self, window: Window) -> None:
        sent_at, counter = self._clock.seconds(), self._windows.count_of(window)
        await self._log.append(self._topic, window.lineage_id.encode(), encode(counter))
        self._windows.publish_done(window, counter.count, sent_at)
        self._metrics.window_count_sent()
        if self._is_failing:
            self._is_failing = False
            logger.info("counts are published again")

    async def _send_all(self, waiting: list[Window]) -> None:
        """Take one after the other, as long as there are any."""
        while waiting:
            await self._send(waiting.pop())
