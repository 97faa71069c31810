"""Work in batches that shrink: a query that meets its time limit is no outage, and would meet it again."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from psycopg.errors import QueryCanceled

#: So many batches in a row pass before a larger one is tried.
BATCHES_BEFORE_GROWTH = 100

T = TypeVar("T")
logger = logging.getLogger(__name__)


class BatchSize:
    """How much is done at once: halved by each query that takes too long, doubled when many have passed.

    `is_stalled`: not even a single row passes. Nothing goes on then, and somebody has to look.
    """

    def __init__(self, what: str, limit: int, on_timeout: Callable[[], None] = lambda: None) -> None:
        """`what` names the work in the process' log; `on_timeout` counts."""
        self._what = what
        self._limit = limit
        self._on_timeout = on_timeout
        self._passed = 0
        self.now = limit
        self.is_stalled = False

    async def run(self, batch: Callable[[], Awaitable[T]]) -> T | None:
        """What the batch returns; None where a query of it took too long, and the next one is smaller."""
        try:
            result = await batch()
        except QueryCanceled as error:
            self._shrink(error)
            return None
        self._grow()
        return result

    def _shrink(self, error: QueryCanceled) -> None:
        self._on_timeout()
        self._passed = 0
        self.is_stalled = self.now == 1
        if self.is_stalled:
            logger.error("%s stands still: a single row takes too long: %s", self._what, error)
        else:
            self.now //= 2
            logger.warning("%s: %s; going on with %d at once", self._what, str(error).strip(), self.now)

    def _grow(self) -> None:
        self.is_stalled = False
        self._passed += 1
        if self.now < self._limit and self._passed >= BATCHES_BEFORE_GROWTH:
            self.now = min(self._limit, 2 * self.now)
            self._passed = 0
