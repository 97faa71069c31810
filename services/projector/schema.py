"""The schema `projector`: made by this service alone, and made anew when it is another version's."""

from __future__ import annotations

import logging
from importlib.resources import files
from typing import Any

from psycopg import AsyncConnection

from events.queries import load_queries

#: Raise it with every change of `schema.sql`, or of what the fold makes of a record.
SCHEMA_VERSION = 1

_QUERIES = load_queries("services.projector")

logger = logging.getLogger(__name__)


async def prepare_schema(connection: AsyncConnection[Any]) -> None:
    """See that the schema is there in today's version; whatever else is there is dropped, for a rebuild.

    Several projectors may do this at once.
    """
    async with connection.transaction():
        await connection.execute(_QUERIES["lock_schema"])
        if await _version(connection) == SCHEMA_VERSION:
            return
        await connection.execute(_QUERIES["drop_schema"])
        await connection.execute(files(__package__).joinpath("schema.sql").read_text("utf-8"))
        await connection.execute(_QUERIES["remember_schema_version"], {"version": SCHEMA_VERSION})
        logger.info("made schema projector, version %d: filling it from the log", SCHEMA_VERSION)


async def known_cluster_id(connection: AsyncConnection[Any]) -> str | None:
    """Whose log the rows were made from; None while nothing was made yet."""
    cluster_id: str | None = await _only_value(connection, "known_cluster_id")
    return cluster_id


async def remember_cluster_id(connection: AsyncConnection[Any], cluster_id: str) -> None:
    """Settle whose log this is, unless it is settled."""
    await connection.execute(_QUERIES["remember_cluster_id"], {"cluster_id": cluster_id})


async def count_parked(connection: AsyncConnection[Any]) -> int:
    """How many lineages are closed."""
    count: int = await _only_value(connection, "count_parked")
    return count


async def _version(connection: AsyncConnection[Any]) -> int | None:
    if not await _only_value(connection, "has_schema_version"):
        return None
    version: int | None = await _only_value(connection, "schema_version")
    return version


async def _only_value(connection: AsyncConnection[Any], query: str) -> Any:
    row = await (await connection.execute(_QUERIES[query])).fetchone()
    return row[0] if row else None
