"""Changed windows and the offsets that they include -> `rate_window`, `key_activity`, `projection_offset`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from psycopg import AsyncConnection
from psycopg.errors import UndefinedTable

from events.errors import EventsError
from events.queries import load_queries
from services.projector.rate_windows_counts import Window, WindowKey
from services.projector.rate_windows_unwritten import Changes
from services.projector.schema import SCHEMA_VERSION

_QUERIES = load_queries("services.projector", "rate_windows.sql")

#: So many rows go into one statement: a second's work.
ROWS_AT_ONCE = 20_000

Row = tuple[Any, ...]


class SchemaMissing(EventsError):
    """The schema `projector` is not there, or is another version's: the projector makes it."""


class SchemaRemade(EventsError):
    """The schema was made anew: it holds nothing of what was written before. `made` tells it from others."""

    def __init__(self, made: int) -> None:
        super().__init__("the schema projector was made anew")
        self.made = made


async def write(
    connection: AsyncConnection[Any], topic: str, changes: Changes, oldest_hour: int, made: int | None
) -> Collection[int]:
    """Write it all in one transaction, into the schema that was `made` so; delete hours before the oldest.

    Returns the partitions whose stretch follows on what the rows include, and is passed now.
    Raises `SchemaRemade` and `SchemaMissing`, with nothing written, and psycopg's errors.
    """
    passed: set[int] = set()
    async with connection.transaction():
        found = await _hold_schema(connection)
        if found != made:
            raise SchemaRemade(found)
        windows = window_rows(changes.windows, oldest_hour)
        for hours, lineage_ids, node_ids, kinds, counts in _columns(windows):
            values: Mapping[str, Any] = {
                "hours": hours,
                "lineage_ids": lineage_ids,
                "node_ids": node_ids,
                "kinds": kinds,
                "counts": counts,
            }
            await connection.execute(_QUERIES["write_windows"], values)
        for key_ids, moments in _columns(activity_rows(changes.windows)):
            await connection.execute(_QUERIES["write_activity"], {"key_ids": key_ids, "moments": moments})
        stretches = sorted((partition, *stretch) for partition, stretch in changes.stretches.items())
        for partitions, firsts, followings in _columns(stretches):
            values = {"topic": topic, "partitions": partitions, "firsts": firsts, "followings": followings}
            cursor = await connection.execute(_QUERIES["write_offsets"], values)
            passed.update(partition for (partition,) in await cursor.fetchall())
        for topics, numbers, offsets, moments, digests in _columns(changes.marks):
            values = {
                "topics": topics,
                "partitions": numbers,
                "offsets": offsets,
                "moments": moments,
                "digests": digests,
            }
            await connection.execute(_QUERIES["write_marks"], values)
        await connection.execute(_QUERIES["delete_hours"], {"oldest_hour": oldest_hour})
    return passed


async def look(connection: AsyncConnection[Any]) -> None:
    """Raises psycopg's errors where nothing could be written."""
    await connection.execute(_QUERIES["look"])


def window_rows(windows: Mapping[WindowKey, Window], oldest_hour: int) -> Sequence[Row]:
    """Hour, lineage, node, kind and count of every node in hours that are kept, sorted."""
    return sorted(
        (hour, lineage_id, node_id, kind, count)
        for (lineage_id, hour), window in windows.items()
        if hour >= oldest_hour
        for node_id, (kind, count) in window["nodes"].items()
    )


def activity_rows(windows: Mapping[WindowKey, Window]) -> Sequence[Row]:
    """Every key and when it was last used (ms), sorted."""
    latest: dict[str, int] = {}
    for window in windows.values():
        for key_id, moment in window["last_used"].items():
            latest[key_id] = max(moment, latest.get(key_id, 0))
    return sorted(latest.items())


async def _hold_schema(connection: AsyncConnection[Any]) -> int:
    """Which making of the schema this is; it stays until the transaction ends."""
    try:
        await connection.execute(_QUERIES["hold_schema"])
        row = await (await connection.execute(_QUERIES["schema_made"])).fetchone()
    except UndefinedTable:
        raise SchemaMissing("the projector has not made it yet") from None
    made, version = row or (0, None)
    if version != SCHEMA_VERSION:
        raise SchemaMissing(f"it has version {version}, this process needs version {SCHEMA_VERSION}")
    return int(made)


def _columns(rows: Sequence[Row]) -> Iterator[tuple[list[Any], ...]]:
    """The rows by columns, as many at a time as a statement takes."""
    for first in range(0, len(rows), ROWS_AT_ONCE):
        yield tuple(map(list, zip(*rows[first : first + ROWS_AT_ONCE], strict=True)))
