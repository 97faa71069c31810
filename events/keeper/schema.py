"""A schema that one service keeps: made by it alone, and made anew when it is another version's."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection, sql
from psycopg.types.json import Jsonb

from events.errors import WrongSchema
from events.log_identity import LogIdentity
from events.queries import load_queries

_QUERIES = load_queries("events.keeper")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Schema:
    """`definition` is the SQL that makes it, without the tables that every keeper has (`common.sql`).

    Raise `version` with every change of the definition, or of what is made of a record.
    """

    name: str
    version: int
    definition: str


async def prepare_schema(connection: AsyncConnection[Any], schema: Schema) -> None:
    """See that the schema is there in today's version; an older one is dropped, for a rebuild.

    What is known of the log stays: which it is, what stood in it, and what it has lost. The schema stands
    first in the connection's search path. Several processes may do this at once. Raises `WrongSchema` when a
    newer version has made it: an old process that starts again in the middle of an upgrade must not undo it.
    """
    async with connection.transaction():
        await connection.execute(_QUERIES["lock_schema"], {"schema": schema.name})
        found = await _version(connection)
        if found == schema.version:
            return
        if found is not None and found > schema.version:
            raise _newer(schema, found)
        known = None if found is None else await known_log(connection)
        of_the_log = await _known_of_the_log(connection)
        name = sql.Identifier(schema.name)
        await connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(name))
        await connection.execute(sql.SQL("CREATE SCHEMA {}").format(name))
        await connection.execute(_QUERIES["create_common"])
        await connection.execute(schema.definition)
        await connection.execute(_QUERIES["remember_schema_version"], {"version": schema.version})
        if known is not None:
            await remember_log(connection, known)
        for what, rows in of_the_log.items():
            await connection.execute(_QUERIES[f"restore_{what}"], {"rows": Jsonb(rows)})
        logger.info("made schema %s, version %d: filling it from the log", schema.name, schema.version)


async def confirm_schema(connection: AsyncConnection[Any], schema: Schema) -> None:
    """Raises `WrongSchema` when another version has made the schema since; it stays in a transaction.

    A schema that is gone is told by whatever is asked of it next.
    """
    found = await _version(connection)
    if found not in (None, schema.version):
        raise WrongSchema(f"schema {schema.name} was made anew in version {found}, this is {schema.version}")


async def known_log(connection: AsyncConnection[Any]) -> LogIdentity | None:
    """Whose log the rows were made from; None while nothing was made yet."""
    row = await (await connection.execute(_QUERIES["known_log"])).fetchone()
    return LogIdentity(*row) if row else None


async def remember_log(connection: AsyncConnection[Any], log: LogIdentity) -> None:
    """Settle whose log this is, unless it is settled."""
    await connection.execute(
        _QUERIES["remember_log"], {"cluster_id": log.cluster_id, "lifecycle_topic": log.lifecycle_topic}
    )


async def has_goals(connection: AsyncConnection[Any]) -> bool:
    """Whether it is settled from where on the schema counts as filled."""
    return bool(await _only_value(connection, "has_goals"))


async def set_goals(connection: AsyncConnection[Any], ends: Mapping[tuple[str, int], int]) -> None:
    """The schema is filled once it has passed these offsets, by topic and partition. Settled once."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            _QUERIES["set_goal"],
            [
                {"topic": topic, "partition": partition, "goal": goal}
                for (topic, partition), goal in sorted(ends.items())
            ],
        )


def _newer(schema: Schema, found: int) -> WrongSchema:
    return WrongSchema(
        f"schema {schema.name} is of version {found}, this process of version {schema.version}: upgrade it, "
        "or, to go back for good, stop every newer process and drop the schema"
    )


async def knows_the_log(connection: AsyncConnection[Any]) -> bool:
    """Whether the schema, the first of the search path, remembers what stood in the log."""
    return bool(await _only_value(connection, "has_log_tables"))


async def _known_of_the_log(connection: AsyncConnection[Any]) -> Mapping[str, list[Any]]:
    """Rows about the log itself, whatever follows from it, by what they are about."""
    if not await knows_the_log(connection):
        return {}
    known: Mapping[str, list[Any]] = await _only_value(connection, "save_log_tables")
    return known


async def _version(connection: AsyncConnection[Any]) -> int | None:
    if not await _only_value(connection, "has_schema_version"):
        return None
    version: int | None = await _only_value(connection, "schema_version")
    return version


async def _only_value(connection: AsyncConnection[Any], query: str) -> Any:
    row = await (await connection.execute(_QUERIES[query])).fetchone()
    return row[0] if row else None
