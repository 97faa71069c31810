"""The Postgres picture of the keys, read-only: admin queries, and the snapshot that fills a store."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection, IsolationLevel
from psycopg.rows import dict_row, tuple_row
from psycopg_pool import AsyncConnectionPool

from events.database_sessions import session_settings
from events.keeper.mark_trail import Refusal
from events.lineage import Lineage
from events.log import Mark
from events.log_identity import LogIdentity
from events.queries import load_queries
from services.api.directory.store_writer import SnapshotKey, StoreWriter
from services.api.errors import ReadModelUnavailable
from services.api.schemas import ApiKeyInfo

WAIT_SECONDS = 2.0
#: For the wait and the query together.
ANSWER_SECONDS = 4.0
PROBE_SECONDS = 2.0
POLL_SECONDS = 0.003
SNAPSHOT_BATCH = 5000
#: Of four connections.
LISTS_AT_ONCE = 2
logger = logging.getLogger(__name__)
T = TypeVar("T")
QUERIES = load_queries("services.api")


@dataclass(frozen=True, slots=True)
class Page:
    """Where a listing goes on: after the key created at that time with that id."""

    after_time: datetime
    after_key: str


@dataclass(frozen=True, slots=True)
class KeyPage:
    """A part of a listing: keys as JSON objects with commas between them, in UTF-8; where it goes on.

    Pages of one listing are of one `generation`: where it changes the read models were made anew meanwhile.
    """

    keys: bytes
    following: Page | None
    generation: int = 0


@dataclass(frozen=True, slots=True)
class KnownMarks:
    """Of a topic: marks that it has to agree with, and a sentence for each partition that was refused."""

    marks: Sequence[Mark] = field(default_factory=list)
    refusals: Sequence[str] = field(default_factory=list)


class PostgresReadModels:
    """Queries over the projector's views. Every one raises `ReadModelUnavailable` when Postgres is away."""

    def __init__(self, database_url: str, topic: str) -> None:
        self._topic = topic
        self._listing = asyncio.Semaphore(LISTS_AT_ONCE)
        self._pool: AsyncConnectionPool[AsyncConnection[dict[str, Any]]] = AsyncConnectionPool(
            database_url,
            min_size=1,
            max_size=4,
            open=False,
            timeout=WAIT_SECONDS,
            check=AsyncConnectionPool.check_connection,
            kwargs={
                **session_settings({"statement_timeout": "10s", "default_transaction_read_only": "on"}),
                "row_factory": dict_row,
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 4,
            },
        )
        self._probe: asyncio.Task[LogIdentity | None] | None = None

    async def open(self) -> None:
        await self._pool.open(wait=False)

    async def close(self) -> None:
        await self._pool.close(timeout=2)

    async def is_reachable(self) -> bool:
        """Whether Postgres answers within two seconds, and has the views.

        One question is under way at most: each that a silent server does not answer holds a connection.
        """
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(self._known_log())
        await asyncio.wait({self._probe}, timeout=PROBE_SECONDS)
        if not self._probe.done():
            return False
        failure = self._probe.exception()
        if failure is not None and not isinstance(failure, ReadModelUnavailable):
            raise failure
        return failure is None

    async def known_log(self) -> LogIdentity | None:
        """The log that the read models were built from, or None where nothing was built yet."""
        return await in_time(self._known_log())

    async def known_marks(self) -> KnownMarks:
        """What the projector knows of what stood in the topic, and of what the log has lost of it."""
        return await in_time(self._known_marks())

    async def _known_marks(self) -> KnownMarks:
        of = {"topic": self._topic}
        async with self.connection() as connection:
            cursor = connection.cursor(row_factory=tuple_row)
            marks = [Mark(*row) for row in await (await cursor.execute(QUERIES["marks"], of)).fetchall()]
            refusals = await (await cursor.execute(QUERIES["refusals"], of)).fetchall()
        return KnownMarks(marks, [str(Refusal(*row)) for row in refusals])

    async def _known_log(self) -> LogIdentity | None:
        async with self.connection() as connection:
            row = await (await connection.execute(QUERIES["identity"])).fetchone()
        return LogIdentity(**row) if row else None

    async def fill(self, writer: StoreWriter, log: LogIdentity) -> Mapping[int, int]:
        """Put all that the projector has made of the log into an empty store; where it stood in the log.

        Batch by batch: all rows at once would take more memory than a node has. The store holds a part of
        the keys when this fails.
        """
        async with self.connection() as connection:
            await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
            async with connection.transaction():
                await connection.execute(QUERIES["take_your_time"])
                cursor = connection.cursor(row_factory=tuple_row, binary=True)
                row = await (await cursor.execute(QUERIES["identity"])).fetchone()
                if row is not None and LogIdentity(*row) != log:
                    raise ReadModelUnavailable("The read model is of another log")
                await cursor.execute(QUERIES["positions"], {"topic": self._topic})
                positions: dict[int, int] = dict(await cursor.fetchall())
                await cursor.execute(QUERIES["snapshot_keyless"])
                for lineage_id, sequence, parked in await cursor.fetchall():
                    writer.put(Lineage(lineage_id, sequence, (), parked))
                async with connection.cursor("keys", row_factory=_snapshot_key) as keys:
                    await keys.execute(QUERIES["snapshot_keys"], binary=True)
                    while batch := await keys.fetchmany(SNAPSHOT_BATCH):
                        writer.load(batch)
            await connection.set_isolation_level(None)
        return positions

    async def list_keys(
        self,
        passed: Mapping[int, int],
        now: datetime,
        *,
        services: Sequence[str] | None,
        active_only: bool,
        page: Page | None,
        limit: int,
    ) -> KeyPage:
        """As many keys, oldest first, once the projection has passed these offsets."""
        parameters = {
            "now": now,
            "services": list(services) if services is not None else None,
            "active_only": active_only,
            "after_time": page.after_time if page else None,
            "after_key": page.after_key if page else None,
            "limit": limit,
        }
        # Lists take turns, so that however many there are, other questions find a connection.
        async with self._listing:
            return await in_time(self._page(parameters, passed))

    async def get_key(self, key_id: str, passed: Mapping[int, int], now: datetime) -> ApiKeyInfo | None:
        """One key, once the projection has passed these offsets."""
        return await in_time(self._key({"key_id": key_id, "now": now}, passed))

    async def _key(self, parameters: Mapping[str, Any], passed: Mapping[int, int]) -> ApiKeyInfo | None:
        async with self.connection() as connection:
            await self._wait_until_passed(connection, passed)
            row = await (await connection.execute(QUERIES["get_key"], parameters)).fetchone()
            return None if row is None else ApiKeyInfo(id=row["key_id"], **row)

    async def _page(self, parameters: Mapping[str, Any], passed: Mapping[int, int]) -> KeyPage:
        async with self.connection() as connection:
            await self._wait_until_passed(connection, passed)
            row = await (await connection.execute(QUERIES["list_keys"], parameters)).fetchone()
            assert row is not None
            following = Page(row["last_time"], row["last_key"]) if row["has_more"] else None
            return KeyPage(row["keys"].encode(), following, row["generation"])

    async def _wait_until_passed(
        self, connection: AsyncConnection[dict[str, Any]], passed: Mapping[int, int]
    ) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            cursor = await connection.execute(QUERIES["positions"], {"topic": self._topic})
            reached = {row["partition"]: row["next_offset"] for row in await cursor.fetchall()}
            if all(reached.get(partition, 0) >= offset for partition, offset in passed.items()):
                return
            if time.monotonic() > deadline:
                raise ReadModelUnavailable("The read model is behind the log, try again")
            await asyncio.sleep(POLL_SECONDS)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection[dict[str, Any]]]:
        """Driver errors stop here."""
        try:
            async with self._pool.connection() as connection:
                yield connection
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
            raise ReadModelUnavailable("The read model is being rebuilt, try again") from error
        except psycopg.Error as error:
            # A right that is missing is no reason to stop validating either.
            if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
                logger.exception("Postgres refuses to be read")
            raise ReadModelUnavailable("The read model is not available, try again") from error


async def in_time(query: Coroutine[Any, Any, T], seconds: float = ANSWER_SECONDS) -> T:
    """Give a query up that Postgres does not answer at all, as when it is frozen.

    It is left to end by itself: cancelling it would wait for the same silent server.
    """
    task = asyncio.create_task(query)
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if done:
        return task.result()
    task.add_done_callback(lambda late: late.cancelled() or late.exception())
    raise ReadModelUnavailable("The read model does not answer, try again")


def _snapshot_key(_: object) -> Callable[[Sequence[Any]], SnapshotKey]:
    return SnapshotKey._make
