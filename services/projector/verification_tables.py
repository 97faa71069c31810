"""Rows as the log wants them beside rows as Postgres has them: what differs, in sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from psycopg import AsyncConnection

from events.log import LogReader
from events.queries import load_queries
from services.projector.rows import Row

QUERIES = {
    **load_queries("services.projector"),
    **load_queries("services.projector", "usage.sql"),
    **load_queries("services.projector", "hourly.sql"),
}

Progress = Callable[[int, int], None]
Place = TypeVar("Place", int, str, tuple[Any, ...])


class Table(NamedTuple):
    """What a query has found."""

    columns: Sequence[str]
    rows: Sequence[Row]


async def table(connection: AsyncConnection[Any], query: str, **parameters: object) -> Table:
    """The rows of a named query of this package."""
    cursor = await connection.execute(QUERIES[query], parameters)
    assert cursor.description is not None
    return Table([column.name for column in cursor.description], await cursor.fetchall())


async def ends_to_compare(
    connection: AsyncConnection[Any], reader: LogReader, topic: str
) -> tuple[Mapping[int, int], list[str]]:
    """Up to where the rows follow from the topic, and what is wrong where the topic ends before that."""
    positions: dict[int, int] = dict((await table(connection, "positions", topic=topic)).rows)
    log_ends = await reader.end_offsets()
    ends = {partition: min(position, log_ends.get(partition, 0)) for partition, position in positions.items()}
    differences = [
        f"{topic}/{partition}: Postgres is at offset {position}, the log ends at {ends[partition]}"
        for partition, position in positions.items()
        if position > ends[partition]
    ]
    return ends, differences


def differences(
    wanted: Mapping[Place, Row],
    found: Table,
    place_of: Callable[[Row], Place],
    name: Callable[[Place], str],
) -> Iterator[str]:
    """Rows that are missing, too many or different. Names columns, never what is in them."""
    rows = {place_of(row): row for row in found.rows}
    for place in wanted.keys() - rows.keys():
        yield f"{name(place)} is missing in Postgres"
    for place in rows.keys() - wanted.keys():
        yield f"{name(place)} is in Postgres, but does not follow from the log"
    for place in wanted.keys() & rows.keys():
        if wanted[place] != rows[place]:
            pairs = zip(found.columns, wanted[place], rows[place], strict=True)
            yield f"{name(place)} differs in " + ", ".join(column for column, a, b in pairs if a != b)
