"""Up to when billing is complete: what the broker took before is in the ledger, by the broker's own time."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from services.billing.ports import Books, Ends

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Goal:
    """Uses that were appended before `until` are in usage.hourly; the topics ended at `ends` after that."""

    until: datetime
    ends: Ends


class Watermark:
    """Follows what the projector announces, and asks the broker for the time where something is due.

    A host's clock alone closes nothing: a month is due once the broker says so, and is closed once all that
    was appended until then is published, and read.
    """

    def __init__(
        self, ends: Callable[[], Awaitable[Ends]], broker_time: Callable[[], Awaitable[datetime]]
    ) -> None:
        """`ends` tells where the topics that billing reads end now, `broker_time` is a probe."""
        self._ask_ends = ends
        self._broker_time = broker_time
        self._asked_at: datetime | None = None
        self._goal: _Goal | None = None
        self._passed: _Goal | None = None

    async def follow(self, books: Books, *, ask: bool) -> datetime | None:
        """Go on as far as the topics were read.

        With `ask`, return the broker's time at which it was asked, once all that was appended before is in
        the ledger; None until then. It is asked once, and anew after each such answer. Raises
        `LogUnavailable`.
        """
        if not ask:
            self._asked_at = None
        elif self._asked_at is None:
            self._asked_at = await self._broker_time()
            self._goal = self._passed = None  # accounts and statements have to be read up to now as well
            logger.info("closing waits until what was used before %s is in the ledger", self._asked_at)
        await self._advance(books)
        if self._asked_at is None or self._passed is None or self._passed.until < self._asked_at:
            return None
        asked_at, self._asked_at = self._asked_at, None
        return asked_at

    async def is_passed(self, books: Books) -> bool:
        """Whether the rows are still those that have passed it; not so in a schema that was made anew."""
        return self._passed is not None and await books.have_passed(self._passed.ends)

    async def _advance(self, books: Books) -> None:
        announced = await books.announced_until()
        if announced is None:
            return
        if self._goal is None and (self._passed is None or announced > self._passed.until):
            self._goal = _Goal(announced, await self._ask_ends())
        # For these very ends: while the log grows all the time, the next ones would be too far as well.
        if self._goal is not None and await books.have_passed(self._goal.ends):
            self._passed, self._goal = self._goal, None
            await books.complete(self._passed.until)
