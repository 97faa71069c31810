"""The usage projection and its tables, without a log: records are made up, and applied as runners do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncConnection

from events.dead_letters import DeadLetter
from events.keeper.database import connect
from events.keeper.schema import prepare_schema
from events.keys import KeyCreated
from events.topics import Topics
from services.projector.keys import KeysProjection
from services.projector.schema import projector_schema
from services.projector.usage import UsageProjection
from tests.builders import StoredRecord, lifecycle_record

#: Everything that follows from records of keys.usage.
TABLES = (
    "usage_hour",
    "usage_endpoint_month",
    "usage_service_day",
    "usage_last",
    "usage_progress",
    "usage_identity",
    "usage_unpublished",
)


class Counting:
    """The schema of one database, and a projection that may be told where the lifecycle topic ends."""

    def __init__(self, database_url: str) -> None:
        self.database_url = database_url
        self.topics = Topics.from_environment({})
        self.lifecycle_ends: Mapping[int, int] = {}
        #: Created at the moment when somebody asks where the topic ends.
        self.created_meanwhile: KeyCreated | None = None
        self._projection = UsageProjection(self.topics, self._ends)

    async def begin_anew(self, *keys: KeyCreated) -> None:
        """An empty schema that knows these keys."""
        async with await connect(self.database_url, "projector") as connection:
            await connection.execute("DROP SCHEMA IF EXISTS projector CASCADE")
            await prepare_schema(connection, projector_schema())
        await self.create(*keys)

    async def create(self, *keys: KeyCreated) -> None:
        first = await self.value("SELECT count(*) FROM projector.key_event")
        async with self.connection() as connection:
            records = [lifecycle_record(key, offset) for offset, key in enumerate(keys, start=first)]
            await KeysProjection(self.topics).apply(connection, records)

    async def apply(self, records: Iterable[StoredRecord]) -> Sequence[DeadLetter]:
        """One batch, in a transaction of its own."""
        async with self.connection() as connection, connection.transaction():
            return await self.apply_within(connection, records)

    async def apply_within(
        self, connection: AsyncConnection[Any], records: Iterable[StoredRecord]
    ) -> Sequence[DeadLetter]:
        """One batch, in a transaction that is open."""
        return await self._projection.apply(connection, list(records))

    async def apply_all(
        self, connection: AsyncConnection[Any], batches: Iterable[Sequence[StoredRecord]]
    ) -> None:
        """Batch after batch, each in a transaction of its own, over one connection."""
        for records in batches:
            async with connection.transaction():
                await self._projection.apply(connection, records)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection[Any]]:
        async with await connect(self.database_url, "projector") as connection:
            yield connection

    async def rows(self) -> dict[str, list[str]]:
        """Every row that follows from the records, as text."""
        return {
            table: await self.value(f"SELECT array_agg(t::text ORDER BY t::text) FROM projector.{table} t")
            or []
            for table in TABLES
        }

    async def drop_every_identity(self) -> None:
        """As after more than 35 days in which much has come."""
        async with self.connection() as connection:
            await connection.execute("DELETE FROM projector.usage_identity")

    async def value(self, query: str, *parameters: object) -> Any:
        async with self.connection() as connection:
            row = await (await connection.execute(query, parameters)).fetchone()
        return row[0] if row else None

    async def _ends(self) -> Mapping[int, int]:
        if self.created_meanwhile is not None:
            await self.create(self.created_meanwhile)
        return self.lifecycle_ends
