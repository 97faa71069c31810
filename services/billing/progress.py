"""`usage.progress` -> `billing.watermark`: up to when uses are in `usage.hourly`, as the projector says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from psycopg import AsyncConnection

from events.dead_letters import DeadLetter
from events.log import Record
from events.queries import load_queries
from events.topics import Topics
from services.billing.reading import read_progress, readable

_QUERIES = load_queries("services.billing")


class ProgressProjection:
    """Keeps the highest moment that was announced: each announcement stays true."""

    name = "progress"
    dead_letter_topic = None

    def __init__(self, topics: Topics, on_unreadable: Callable[[], None]) -> None:
        self.topic = topics.usage_progress
        self._on_unreadable = on_unreadable

    async def apply(
        self, connection: AsyncConnection[Any], records: Sequence[Record]
    ) -> Sequence[DeadLetter]:
        """See `Projection.apply`."""
        found = readable(records, read_progress, self._on_unreadable)
        announced = [until for _, until in found if until is not None]
        if announced:
            await connection.execute(_QUERIES["announce"], {"until": max(announced)})
        return ()
