"""A due month: ledger -> rating -> statement -> billing.statements. One statement each, whatever dies when.

One process at a time, under a lock. The bytes of a statement are settled in Postgres before they are sent,
and sent again unchanged until they are read back from the log: a crash between any two steps repeats one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from events.clock import Clock
from events.codec import encode
from events.log import EventLog
from events.totals import StatementClosed
from services.billing.drafting import LineageBooks, draft
from services.billing.metrics import BillingMetrics
from services.billing.months import end_of, last_due, month_text
from services.billing.ports import Books, Closed, Ends, Outgoing
from services.billing.prices import PRICES, Price

#: Statements that are settled, sent and read back together.
TOGETHER = 100
#: A topic takes records of a megabyte. About 40,000 keys and hours fit: fifty keys, each used in every hour.
LARGEST_STATEMENT_BYTES = 900_000
#: How long to wait for the projections, and for a statement to be read back, before looking again.
PATIENCE_SECONDS = 10.0
POLL_SECONDS = 0.05

logger = logging.getLogger(__name__)


class Closing:
    """Closes the months that are due."""

    def __init__(
        self,
        log: EventLog,
        topic: str,
        ends: Callable[[], Awaitable[Ends]],
        clock: Clock,
        metrics: BillingMetrics,
        prices: Sequence[Price] = PRICES,
    ) -> None:
        """Statements go to `topic`; `ends` tells where the topics that billing reads end now."""
        self._log = log
        self._topic = topic
        self._ask_ends = ends
        self._clock = clock
        self._metrics = metrics
        self._prices = prices
        self._ends: Ends = {}
        self._refused: set[Closed] = set()
        self._strangers: set[str] = set()

    async def look(self, books: Books) -> None:
        """Close all that is due, months in order; nothing while somebody else does.

        Raises `LogUnavailable` and psycopg's errors: look again then.
        """
        if not await books.lock():
            return
        await self._deliver(books)
        while any(await self._find_due(books)) and await self._have_caught_up(books):
            due, strangers = await self._find_due(books)
            self._tell(strangers)
            if not await self._close(books, due):
                return

    async def _find_due(self, books: Books) -> tuple[Sequence[Closed], Sequence[str]]:
        """What can be closed now, each lineage's next month only; and lineages that seem to be unknown.

        Neither is sure before all that the topics hold was read. What was told already is left out.
        """
        month = last_due(self._clock.now())
        known, unknown = await books.due(end_of(month))
        found = ((due.next_month(month), due.lineage_id) for due in known)
        due = sorted(Closed(month, lineage_id) for month, lineage_id in found if month is not None)
        self._metrics.statements_due.set(len(due))
        self._metrics.months_due.set(len({closed.month for closed in due}))
        return (
            [closed for closed in due if closed not in self._refused],
            [lineage_id for lineage_id in unknown if lineage_id not in self._strangers],
        )

    async def _have_caught_up(self, books: Books) -> bool:
        """Whether the projections have soon passed all that the topics hold now."""
        self._ends = await self._ask_ends()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not await books.have_passed(self._ends):
            if time.monotonic() > deadline:
                logger.info("months are due, and the projections are behind the log: closing waits for them")
                return False
            await asyncio.sleep(POLL_SECONDS)
        return True

    async def _close(self, books: Books, due: Sequence[Closed]) -> bool:
        """Whether any statement was closed."""
        closed_any = False
        for first in range(0, len(due), TOGETHER):
            async with books.snapshot():
                # Asked again of this very moment: the schema may have been dropped and made anew.
                if not await books.have_passed(self._ends):
                    return closed_any
                statements = self._draft(await books.open(due[first : first + TOGETHER]))
                await books.settle(statements)
            await self._deliver(books)
            closed_any = closed_any or bool(statements)
        return closed_any

    def _draft(self, opened: Sequence[tuple[Closed, LineageBooks]]) -> Sequence[Outgoing]:
        drafted = []
        for closed, found in opened:
            try:
                drafted.append(Outgoing(closed, _encoded(draft(found, closed.month, self._prices))))
            except ValueError as error:
                logger.error(  # noqa: TRY400 - the place says it all, and the values nothing
                    "statement %s of lineage %s cannot be closed: %s",
                    month_text(closed.month),
                    closed.lineage_id,
                    error,
                )
                self._refused.add(closed)
        self._metrics.refused_statements.set(len(self._refused))
        return drafted

    async def _deliver(self, books: Books) -> None:
        """Send what is settled until it is read back from the log."""
        await self._forget_read_back(books)
        while statements := await books.outgoing(TOGETHER):
            await asyncio.gather(
                *(self._log.append(self._topic, one.record_key, one.value) for one in statements)
            )
            await self._read_back(books, len(statements))

    async def _read_back(self, books: Books, statements: int) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (statements := statements - await self._forget_read_back(books)) > 0:
            if time.monotonic() > deadline:
                logger.warning("%d statements were sent and not read back: sending them again", statements)
                return
            await asyncio.sleep(POLL_SECONDS)

    async def _forget_read_back(self, books: Books) -> int:
        statements = await books.forget_read_back()
        if statements:
            self._metrics.statements_closed.inc(statements)
            self._metrics.last_closing.set(self._clock.seconds())
            logger.info("closed %d statements", statements)
        return statements

    def _tell(self, strangers: Sequence[str]) -> None:
        for lineage_id in strangers:
            logger.warning("lineage %s has use, and nobody has created it: not billed", lineage_id)
        self._strangers.update(strangers)
        self._metrics.unknown_lineages.set(len(self._strangers))


def _encoded(statement: StatementClosed) -> bytes:
    """Raises `ValueError` where it is too large."""
    value = encode(statement)
    if len(value) > LARGEST_STATEMENT_BYTES:
        raise ValueError(f"it would have {len(value)} bytes, more than a record takes")
    return value
