"""Is Postgres what the log says? Every row against the fold, up to the offsets that Postgres is at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from psycopg import AsyncConnection, IsolationLevel

from events.kafka_log import KafkaLogReader
from events.keeper.database import connect
from events.lifecycle import Folded
from events.lineage import Lineage
from events.log import LogReader, Record
from events.queries import load_queries
from events.settings import KafkaSettings
from events.topics import Topics
from services.projector.replay import replay
from services.projector.rows import Row, event_row, key_rows, lineage_row

_QUERIES = load_queries("services.projector")

Progress = Callable[[int, int], None]
Place = TypeVar("Place", int, str, tuple[Any, ...])


class _Table(NamedTuple):
    columns: Sequence[str]
    rows: Sequence[Row]


async def verify(
    kafka: KafkaSettings,
    topics: Topics,
    database_url: str,
    on_progress: Progress = lambda done, total: None,
) -> list[str]:
    """One sentence for each row that differs from the fold of the log; none when all are equal.

    `on_progress` is told how many records of how many were folded. Raises `LogUnavailable`, `WrongLog`, and
    psycopg's errors (`UndefinedTable`: there is no projection to verify).
    """
    async with (
        await connect(database_url, "projector") as connection,
        KafkaLogReader(kafka, topics.lifecycle) as reader,
    ):
        await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
        await connection.set_read_only(True)
        async with connection.transaction():
            return await compare(connection, reader, topics.lifecycle.name, on_progress)


async def compare(
    connection: AsyncConnection[Any],
    reader: LogReader,
    topic: str,
    on_progress: Progress = lambda done, total: None,
) -> list[str]:
    """What `verify` returns, for what the connection's transaction sees."""
    positions: dict[int, int] = dict((await _table(connection, "positions", topic=topic)).rows)
    log_ends = await reader.end_offsets()
    ends = {partition: min(position, log_ends.get(partition, 0)) for partition, position in positions.items()}
    differences = [
        f"{topic}/{partition}: Postgres is at offset {position}, the log ends at {ends[partition]}"
        for partition, position in positions.items()
        if position > ends[partition]
    ]
    lineages: dict[str, Lineage] = {}
    counts = dict.fromkeys(ends, 0)
    async for outcomes in replay(reader, ends, lineages):
        differences += await _compare_events(connection, topic, outcomes, counts)
        on_progress(sum(counts.values()), sum(ends.values()))
    differences += _compare_counts(topic, counts, await _table(connection, "count_events"))
    differences += _compare_lineages(lineages, await _table(connection, "all_lineages"))
    differences += _compare_keys(lineages, await _table(connection, "all_keys"))
    return differences


async def _compare_events(
    connection: AsyncConnection[Any],
    topic: str,
    outcomes: Sequence[tuple[Record, Folded]],
    counts: dict[int, int],
) -> list[str]:
    """Compare a stretch of the log with the audit trail, and count its records by partition."""
    wanted: dict[int, dict[int, Row]] = {}
    for record, folded in outcomes:
        wanted.setdefault(record.partition, {})[record.offset] = event_row(record, folded)
    differences: list[str] = []
    for partition, rows in wanted.items():
        counts[partition] += len(rows)
        found = await _table(connection, "events_at", partition=partition, first=min(rows), last=max(rows))
        name = f"{topic}/{partition}@{{}}: the event".format
        differences += _differences(rows, found, lambda row: int(row[2]), name)
    return differences


def _compare_counts(topic: str, wanted: Mapping[int, int], found: _Table) -> Iterator[str]:
    """Rows of records that the log does not have, or not before the offset that Postgres is at."""
    counts: dict[int, int] = dict(found.rows)
    for partition in sorted(wanted.keys() | counts.keys()):
        if wanted.get(partition, 0) != counts.get(partition, 0):
            yield (
                f"{topic}/{partition}: {counts.get(partition, 0)} events in Postgres, "
                f"{wanted.get(partition, 0)} in the log"
            )


def _compare_lineages(lineages: Mapping[str, Lineage], found: _Table) -> Iterator[str]:
    wanted = {lineage.lineage_id: lineage_row(lineage) for lineage in lineages.values()}
    return _differences(wanted, found, lambda row: str(row[0]), "lineage {}".format)


def _compare_keys(lineages: Mapping[str, Lineage], found: _Table) -> Iterator[str]:
    wanted = {row[:2]: row for lineage in lineages.values() for row in key_rows(lineage)}
    return _differences(wanted, found, lambda row: row[:2], lambda at: f"lineage {at[0]}, key {at[1]}")


def _differences(
    wanted: Mapping[Place, Row],
    found: _Table,
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


async def _table(connection: AsyncConnection[Any], query: str, **parameters: object) -> _Table:
    cursor = await connection.execute(_QUERIES[query], parameters)
    assert cursor.description is not None
    return _Table([column.name for column in cursor.description], await cursor.fetchall())
