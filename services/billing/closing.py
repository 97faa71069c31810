"""A due month: ledger -> rating -> statement -> billing.statements. One statement each, whatever dies when.

One process at a time, under a lock. A month is closed once the ledger has all that was appended to
`keys.usage` up to a moment at which it was due already, by the broker's time: see `Watermark`. The bytes of a
statement are settled in Postgres before they are sent, and sent again unchanged until they are read back from
the log: a crash between any two steps repeats one.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from datetime import date
from functools import partial

from psycopg.errors import QueryCanceled

from events.batch_size import BatchSize
from events.clock import Clock
from services.billing.delivery import Delivery
from services.billing.drafting import LineageBooks, draft
from services.billing.metrics import BillingMetrics
from services.billing.months import following, last_due, month_text
from services.billing.parts import records_of
from services.billing.ports import Books, Closed, Outgoing, Unnamed
from services.billing.prices import PRICES, Price
from services.billing.watermark import Watermark

#: Lineages that are looked at, or closed, together: fewer where they have many hours.
TOGETHER = 100
HOURS_TOGETHER = 100_000

logger = logging.getLogger(__name__)


class Closing:
    """Closes the months that are due."""

    def __init__(
        self,
        delivery: Delivery,
        watermark: Watermark,
        clock: Clock,
        metrics: BillingMetrics,
        prices: Sequence[Price] = PRICES,
    ) -> None:
        self._delivery = delivery
        self._watermark = watermark
        self._clock = clock
        self._metrics = metrics
        self._prices = prices
        self._page = BatchSize("closing", TOGETHER, metrics.query_timeouts.inc)
        self._is_stalled = False
        self._refused: set[Closed] = set()
        self._strangers: set[str] = set()

    @property
    def is_stalled(self) -> bool:
        """Whether nothing can be closed because queries take too long, however little they ask for."""
        return self._is_stalled or self._page.is_stalled

    async def look(self, books: Books) -> None:
        """Close all that is due, months in order; nothing while somebody else does.

        Raises `LogUnavailable` and psycopg's errors: look again then.
        """
        try:
            await self._look(books)
        except QueryCanceled as error:
            self._metrics.query_timeouts.inc()
            self._is_stalled = True
            logger.error("closing stands still: a query takes too long: %s", error)  # noqa: TRY400
        else:
            self._is_stalled = False

    async def _look(self, books: Books) -> None:
        if not await books.lock():
            return
        self._delivery.begin()
        await self._delivery.deliver(books)
        now = self._clock.now()
        is_due = await self._is_anything_due(books, last_due(now))
        until = await self._watermark.follow(books, ask=is_due)
        if is_due and until is not None:
            if last_due(until) < last_due(now):
                logger.warning("this host's clock is ahead: by the broker's it is only %s", until)
            while await self._close_all(books, last_due(min(now, until))):
                await self._is_anything_due(books, last_due(now))

    async def _is_anything_due(self, books: Books, month: date) -> bool:
        """Whether there is anything to close or to tell. Neither is sure before the watermark has passed."""
        statements, months, is_anyone_strange = 0, set[date](), False
        async with aclosing(self._pages(books, month)) as pages:
            async for page in pages:
                due = self._due(page, month)
                statements += len(due)
                months |= {closed.month for closed, _ in due}
                is_anyone_strange |= bool(self._unheard_of(page))
        self._metrics.statements_due.set(statements)
        self._metrics.months_due.set(len(months))
        return statements > 0 or is_anyone_strange

    async def _pages(self, books: Books, month: date) -> AsyncGenerator[Sequence[Unnamed], None]:
        """All lineages with use up to that month which no statement has named, some at a time."""
        last: Closed | None = None
        while True:
            page = await self._page.run(partial(books.due, following(month), last, self._page.now))
            if page:
                yield page
                last = page[-1].place
            elif page is not None or self._page.is_stalled:
                return

    def _due(self, page: Sequence[Unnamed], month: date) -> list[tuple[Closed, int]]:
        """What can be closed, each lineage's next month only, with how many hours it is computed from."""
        found = [
            (Closed(next_month, one.due.lineage_id), one.hours)
            for one in page
            if one.is_known and one.is_first and not one.is_waiting
            if (next_month := one.due.next_month(month)) is not None
        ]
        return [(closed, hours) for closed, hours in found if closed not in self._refused]

    def _unheard_of(self, page: Sequence[Unnamed]) -> set[str]:
        """Lineages that nobody has created, and that were not told yet."""
        return {one.place.lineage_id for one in page if not one.is_known} - self._strangers

    async def _close_all(self, books: Books, month: date) -> bool:
        """Close the next month of every lineage, up to that one; whether any statement was written."""
        written = 0
        async with aclosing(self._pages(books, month)) as pages:
            async for page in pages:
                self._tell(self._unheard_of(page))
                for some in _portions(sorted(self._due(page, month))):
                    if not await self._watermark.is_passed(books):
                        return False
                    written += await self._close(books, some)
        return written > 0

    async def _close(self, books: Books, some: Sequence[Closed]) -> int:
        """How many statements were written. Where the books take too long to read, fewer are read at once."""
        try:
            written = await self._settle(books, some)
        except QueryCanceled as error:
            self._metrics.query_timeouts.inc()
            if len(some) == 1:
                self._refuse(some[0], f"its books take too long to read: {error}")
                return 0
            half = len(some) // 2
            return await self._close(books, some[:half]) + await self._close(books, some[half:])
        await self._delivery.deliver(books)
        return written

    async def _settle(self, books: Books, some: Sequence[Closed]) -> int:
        async with books.snapshot():
            # Asked again of this very moment: the schema may have been dropped and made anew.
            if not await self._watermark.is_passed(books):
                return 0
            drafted = [self._draft(closed, found) for closed, found in await books.open(some)]
            await books.settle([part for parts in drafted for part in parts])
        self._metrics.refused_statements.set(len(self._refused))
        return sum(map(bool, drafted))

    def _draft(self, closed: Closed, found: LineageBooks) -> Sequence[Outgoing]:
        """The parts of the statement; none where it cannot be written."""
        try:
            parts = records_of(draft(found, closed.month, self._prices))
        except ValueError as error:
            self._refuse(closed, str(error))
            return ()
        return [Outgoing(closed, value, part) for part, value in parts.items()]

    def _refuse(self, closed: Closed, why: str) -> None:
        self._refused.add(closed)
        self._metrics.refused_statements.set(len(self._refused))
        month = month_text(closed.month)
        logger.error("statement %s of lineage %s cannot be closed: %s", month, closed.lineage_id, why)

    def _tell(self, strangers: set[str]) -> None:
        for lineage_id in sorted(strangers):
            logger.warning("lineage %s has use, and nobody has created it: not billed", lineage_id)
        self._strangers |= strangers
        self._metrics.unknown_lineages.set(len(self._strangers))


def _portions(due: Sequence[tuple[Closed, int]]) -> Iterator[Sequence[Closed]]:
    """What is closed together: a limited number of hours, or a single lineage."""
    portion: list[Closed] = []
    total = 0
    for closed, hours in due:
        if portion and total + hours > HOURS_TOGETHER:
            yield portion
            portion, total = [], 0
        portion.append(closed)
        total += hours
    if portion:
        yield portion
