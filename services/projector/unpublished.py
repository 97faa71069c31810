"""Rows that `usage.hourly` was not yet seen to have: asked for again and again, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from psycopg import AsyncConnection

from events.queries import load_queries
from services.projector.array_text import array_text

_QUERIES = load_queries("services.projector", "hourly.sql")


class WaitingRow(NamedTuple):
    """A row that `usage.hourly` has to be told, and the revision that it has by now."""

    key_id: str
    hour: datetime
    revision: int


class PublishedSweep:
    """Whether all that waited to be published when it began has been published.

    A row that is used all the time waits all the time, each time with another revision. So a row is done once
    the topic was seen to have the revision that its page was read with.
    """

    def __init__(self) -> None:
        self._page: Sequence[WaitingRow] = ()
        self._last: WaitingRow | None = None

    async def is_over(self, connection: AsyncConnection[Any], rows_at_once: int) -> bool:
        """Go on as far as the topic has been read. Raises psycopg's errors: call it again then."""
        while True:
            if self._page:
                self._page = await _still_waiting(connection, self._page)
            if self._page:
                return False
            self._page = await _waiting_rows(connection, self._last, rows_at_once)
            if not self._page:
                return True
            self._last = self._page[-1]


async def _waiting_rows(
    connection: AsyncConnection[Any], after: WaitingRow | None, limit: int
) -> Sequence[WaitingRow]:
    """The next page of what is unpublished; of a row that has changed meanwhile in its later revision."""
    values = {"key_id": after and after.key_id, "hour": after and after.hour, "rows": limit}
    cursor = await connection.execute(_QUERIES["unpublished_after"], values)
    return [WaitingRow(*row) for row in await cursor.fetchall()]


async def _still_waiting(
    connection: AsyncConnection[Any], rows: Sequence[WaitingRow]
) -> Sequence[WaitingRow]:
    key_ids, hours, revisions = map(array_text, zip(*rows, strict=True))
    values = {"key_ids": key_ids, "hours": hours, "revisions": revisions}
    cursor = await connection.execute(_QUERIES["still_unpublished"], values)
    return [WaitingRow(*row) for row in await cursor.fetchall()]
