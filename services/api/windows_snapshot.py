"""What a worker's view of the windows starts from: Postgres' picture of one hour, and how far it follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg import IsolationLevel
from psycopg.rows import tuple_row

from events.queries import load_queries
from events.totals import WindowCount
from services.api.read_models import PostgresReadModels, in_time

QUERIES = load_queries("services.api", "windows_snapshot.sql")


@dataclass(frozen=True, slots=True)
class WindowsSnapshot:
    """The count of every node in one hour, and the next offset of each partition at that moment."""

    counters: Sequence[WindowCount]
    positions: Mapping[int, int]


class PostgresWindows:
    """Reads what the windows process has made of the topic."""

    def __init__(self, postgres: PostgresReadModels, topic: str) -> None:
        self._postgres = postgres
        self._topic = topic

    async def snapshot(self, hour: int) -> WindowsSnapshot:
        """The windows of that hour (whole hours since 1970). Raises `ReadModelUnavailable`."""
        return await in_time(self._snapshot(hour))

    async def _snapshot(self, hour: int) -> WindowsSnapshot:
        async with self._postgres.connection() as connection:
            await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
            async with connection.transaction():
                cursor = connection.cursor(row_factory=tuple_row, binary=True)
                await cursor.execute(QUERIES["windows_positions"], {"topic": self._topic})
                positions: dict[int, int] = dict(await cursor.fetchall())
                await cursor.execute(QUERIES["windows_of_hour"], {"hour": hour})
                counters = [
                    WindowCount(lineage_id=lineage_id, hour=hour, node_id=node_id, kind=kind, count=count)
                    async for lineage_id, node_id, kind, count in cursor
                ]
            await connection.set_isolation_level(None)
        return WindowsSnapshot(counters, positions)
