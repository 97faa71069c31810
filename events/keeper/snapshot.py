"""A schema as it is at one moment, for an auditor: copied to disk in one short transaction.

No transaction stays open while the log is read, because one that is open for hours keeps Postgres from
removing dead rows everywhere.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from types import TracebackType
from typing import Any, NamedTuple, Self

import psycopg
from psycopg import AsyncConnection, IsolationLevel

from events.errors import MissingRight, WrongSchema
from events.keeper.database import connect_auditor
from events.keeper.schema import Schema
from events.keeper.spool import Spool
from events.queries import load_queries

_QUERIES = load_queries("events.keeper")
ROWS_AT_A_TIME = 5000

Row = tuple[Any, ...]


class Copied(NamedTuple):
    """A query whose rows are copied, and which of its columns say where a row belongs."""

    statement: str
    place: slice


class Table(NamedTuple):
    """What a query has found, dealt out by place."""

    columns: Sequence[str]
    spool: Spool[Row, Row]

    @property
    def rows(self) -> Iterator[Row]:
        return (row for _, row in self.spool)


class Snapshot:
    """What some queries found at one moment. It needs no connection any more; close it with `with`."""

    def __init__(self) -> None:
        self._opened = ExitStack()
        self._tables: dict[str, Table] = {}

    async def copy(self, connection: AsyncConnection[Any], name: str, copied: Copied) -> None:
        """Run the query in the connection's transaction, and keep its rows under this name."""
        spool = self._opened.enter_context(Spool[Row, Row]())
        async with connection.cursor(name="auditor") as cursor:
            cursor.itersize = ROWS_AT_A_TIME
            await cursor.execute(copied.statement.encode())
            assert cursor.description is not None
            self._tables[name] = Table([column.name for column in cursor.description], spool)
            async for row in cursor:
                spool.add(row[copied.place], row)

    def __getitem__(self, name: str) -> Table:
        return self._tables[name]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()


async def take_snapshot(connection: AsyncConnection[Any], queries: Mapping[str, Copied]) -> Snapshot:
    """What all queries find in the connection's transaction."""
    snapshot = Snapshot()
    try:
        for name, copied in queries.items():
            await snapshot.copy(connection, name, copied)
    except BaseException:
        snapshot.__exit__(None, None, None)
        raise
    return snapshot


@asynccontextmanager
async def auditing(database_url: str, schema: Schema) -> AsyncIterator[AsyncConnection[Any]]:
    """A connection that reads this schema, in this version, and sees every row of it or fails.

    Raises `WrongSchema` where it is not there or is another version's, `MissingRight` where its role may not
    read what is asked of it, and psycopg's errors.
    """
    try:
        async with await connect_auditor(database_url, schema.name) as connection:
            await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
            await connection.set_read_only(True)
            await _confirm(connection, schema)
            yield connection
    except psycopg.errors.InsufficientPrivilege as error:
        raise _missing_right(schema, error.diag.message_primary) from error
    except psycopg.errors.UndefinedTable as error:
        raise WrongSchema(
            f"schema {schema.name} went away while it was read: {error.diag.message_primary}"
        ) from error


async def _confirm(connection: AsyncConnection[Any], schema: Schema) -> None:
    # Asked of the catalogue, which everybody may read: to a role without USAGE the schema's own tables seem
    # not to be there.
    cursor = await connection.execute(_QUERIES["what_may_be_read"], {"schema": schema.name})
    row = await cursor.fetchone()
    if row is None:
        raise WrongSchema(
            f"there is no schema {schema.name} in this database: nothing has kept it here yet, or "
            "DATABASE_URL is another database's"
        )
    if row == (False,):
        raise _missing_right(schema, "permission denied")
    found = await _version(connection, schema)
    if found != schema.version:
        raise WrongSchema(
            f"schema {schema.name} is of version {found}, this auditor of version {schema.version}: use the "
            "auditor of the release that keeps it"
        )


def _missing_right(schema: Schema, why: str | None) -> MissingRight:
    return MissingRight(
        f"schema {schema.name}: {why}: an auditor's role needs USAGE on the schema and SELECT on all its "
        "tables and views"
    )


async def _version(connection: AsyncConnection[Any], schema: Schema) -> int:
    try:
        row = await (await connection.execute(_QUERIES["schema_version"])).fetchone()
    except psycopg.errors.UndefinedTable:
        row = None
    if row is None:
        raise WrongSchema(f"schema {schema.name} has no version: its keeper has not made it yet")
    return int(row[0])
