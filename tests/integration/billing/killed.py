"""Billing that kills itself at a step of closing: `python -m tests.integration.billing.killed TIME STEP`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from events.keeper.process import Keeper, Opened
from events.log import EventLog, KeyAndValue, Position
from services.billing.app import ClosingOfMonths, books_of
from services.billing.books import PostgresBooks, open_books
from services.billing.metrics import BillingMetrics
from services.billing.ports import Outgoing
from services.billing.settings import BillingSettings
from tests.fakes import ManualTime

#: In the order in which they come.
STEPS = ("locked", "computed", "written", "settled", "sent one", "sent", "read back", "forgotten")

_READ_BACK = "SELECT EXISTS (SELECT FROM billing.outgoing JOIN billing.statement USING (lineage_id, month))"


async def main(now: datetime, last_step: str) -> None:
    """Run billing at that time until the step is reached."""
    steps = Steps(last_step)

    @asynccontextmanager
    async def books(database_url: str) -> AsyncIterator[PostgresBooks]:
        async with open_books(database_url) as found:
            yield WatchedBooks(found, steps)

    settings, metrics = BillingSettings.from_environment(os.environ), BillingMetrics()
    closing = ClosingOfMonths(settings, metrics, ManualTime(now).clock(), books)

    async def watched(opened: Opened) -> None:
        await closing.work(Opened(opened.pool, WatchedLog(opened.log, steps)))

    kept = books_of(settings, metrics, watched, closing.is_going_on)
    await Keeper(settings, kept, metrics).run(asyncio.Event())


class Steps:
    """How far closing is. What a process does for one that died before it is none of its steps."""

    def __init__(self, last: str) -> None:
        self._last = last
        self.has_settled = False

    def reached(self, step: str) -> None:
        is_own = self.has_settled or step in STEPS[: STEPS.index("settled")]
        if step == self._last and is_own:
            os.kill(os.getpid(), signal.SIGKILL)


class WatchedBooks(PostgresBooks):
    """Books that tell how far closing is."""

    def __init__(self, books: PostgresBooks, steps: Steps) -> None:
        super().__init__(books._connection)
        self._steps = steps
        self._forgets_since_settled = 0

    async def lock(self) -> bool:
        is_ours = await super().lock()
        self._steps.reached("locked")
        return is_ours

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[None]:
        async with super().snapshot():
            yield
            self._steps.reached("written")
        self._steps.has_settled = True
        self._steps.reached("settled")

    async def settle(self, statements: Sequence[Outgoing]) -> None:
        self._steps.reached("computed")
        await super().settle(statements)

    async def forget_read_back(self) -> int:
        self._forgets_since_settled += self._steps.has_settled
        if self._forgets_since_settled > 1:  # the first is that before anything is sent
            self._steps.reached("sent")
        row = await (await self._connection.execute(_READ_BACK)).fetchone()
        if row is not None and row[0]:
            self._steps.reached("read back")
        forgotten = await super().forget_read_back()
        if forgotten:
            self._steps.reached("forgotten")
        return forgotten


class WatchedLog:
    """A log that tells when it has taken a statement."""

    def __init__(self, log: EventLog, steps: Steps) -> None:
        self._log = log
        self._steps = steps

    async def append(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Position:
        position = await self._log.append(topic, key, value, headers)
        if value is not None:  # not where the broker was only asked for the time
            self._steps.reached("sent one")
        return position

    async def append_all(self, topic: str, records: Sequence[KeyAndValue]) -> Sequence[Position]:
        return [await self.append(topic, key, value) for key, value in records]


if __name__ == "__main__":
    asyncio.run(main(datetime.fromisoformat(sys.argv[1]), sys.argv[2]))
