"""Statements whose bytes are settled -> `billing.statements`, until they are read back from there."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from events.clock import Clock
from events.errors import LogUnavailable, RecordRefused
from events.log import EventLog
from services.billing.metrics import BillingMetrics
from services.billing.months import month_text
from services.billing.ports import Books, Closed, Outgoing

#: Parts that are sent and read back together: less than a hundred megabytes.
TOGETHER = 100
#: How long to wait for statements to be read back, before going on without them.
PATIENCE_SECONDS = 10.0
POLL_SECONDS = 0.05

logger = logging.getLogger(__name__)


class Delivery:
    """Sends each statement once in a look, its further parts first: it is whole as soon as it is there.

    What the log refuses holds up its own lineage, and is tried again by the next process.
    """

    def __init__(self, log: EventLog, topic: str, clock: Clock, metrics: BillingMetrics) -> None:
        self._log = log
        self._topic = topic
        self._clock = clock
        self._metrics = metrics
        self._tried: set[bytes] = set()
        self._failed: set[Closed] = set()
        self._refused: set[Closed] = set()

    def begin(self) -> None:
        """A look begins: what was not read back since the last one is sent again, unchanged."""
        self._tried.clear()
        self._failed.clear()

    async def deliver(self, books: Books) -> None:
        """Send what is settled and was not tried in this look."""
        await self._forget_read_back(books)
        last: Outgoing | None = None
        while page := await books.outgoing(last, TOGETHER):
            last = page[-1]
            await self._send([one for one in page if one.part > 1])
            await self._read_back(books, await self._send([one for one in page if one.part == 1]))

    async def _send(self, parts: Sequence[Outgoing]) -> int:
        """How many the log has taken now. A statement stays behind with any of its parts."""
        held_up = self._failed | self._refused
        trying = [one for one in parts if one.closed not in held_up and one.record_key not in self._tried]
        self._tried.update(one.record_key for one in trying)
        return sum(await asyncio.gather(*map(self._append, trying)))

    async def _append(self, one: Outgoing) -> bool:
        """Whether the log has taken it. If not, it is sent again in the next look, unless it was refused."""
        try:
            await self._log.append(self._topic, one.record_key, one.value)
        except RecordRefused as error:
            self._refused.add(one.closed)
            self._metrics.undeliverable_statements.set(len(self._refused))
            self._tell(one.closed, error)
        except LogUnavailable as error:
            self._failed.add(one.closed)
            self._tell(one.closed, error)
        else:
            return True
        return False

    def _tell(self, closed: Closed, error: LogUnavailable) -> None:
        month = month_text(closed.month)
        logger.error("statement %s of lineage %s is not delivered: %s", month, closed.lineage_id, error)

    async def _read_back(self, books: Books, statements: int) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while statements > 0 and (statements := statements - await self._forget_read_back(books)) > 0:
            if time.monotonic() > deadline:
                logger.warning("%d statements were sent and are not read back yet", statements)
                return
            await asyncio.sleep(POLL_SECONDS)

    async def _forget_read_back(self, books: Books) -> int:
        statements = await books.forget_read_back()
        if statements:
            self._metrics.statements_closed.inc(statements)
            self._metrics.last_closing.set(self._clock.seconds())
            logger.info("closed %d statements", statements)
        return statements
