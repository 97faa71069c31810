"""Does `usage.hourly` say what Postgres says? Its last record of each row beside the row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from psycopg import AsyncConnection

from events.codec import decode_total
from events.errors import UnreadableRecord
from events.log import LogReader, Record
from events.log_reading import records_before
from events.totals import HourlyTotals, HourlyUsage
from services.projector.published import RowName, last_revisions, record_key, row_of
from services.projector.verification_tables import Progress, Table, differences, ends_to_compare, table


async def compare_published(
    connection: AsyncConnection[Any],
    reader: LogReader,
    topic: str,
    usage_topic: str,
    on_progress: Progress = lambda done, total: None,
) -> list[str]:
    """One sentence for each row that differs, for what the connection's transaction sees.

    Rows that wait to be published are no difference, nor is a topic that is ahead of a rebuild.
    """
    ends, found = await ends_to_compare(connection, reader, topic)
    last: dict[RowName, Record] = {}
    done = 0
    async for records in records_before(reader, ends):
        last |= {row: record for record in records if (row := row_of(record.key)) is not None}
        done += len(records)
        on_progress(done, sum(ends.values()))
    revisions = last_revisions(last.values())
    found += differences(
        {row: (*row, revision) for row, revision in revisions.items()},
        await table(connection, "all_published"),
        lambda row: RowName(*row[:2]),
        lambda row: f"what {topic} says about {record_key(*row)}",
    )
    waiting = {RowName(*row) for row in (await table(connection, "all_unpublished")).rows}
    is_filled = (await table(connection, "is_filled", topic=usage_topic)).rows == [(True,)]
    totals = await table(connection, "all_totals")
    return found + list(_compare_totals(topic, last, totals, waiting, is_filled=is_filled))


def _compare_totals(
    topic: str, last: dict[RowName, Record], totals: Table, waiting: set[RowName], *, is_filled: bool
) -> Iterator[str]:
    rows = {RowName(*row[:2]): row for row in totals.rows}
    for name in (rows.keys() | last.keys()) - waiting:
        said = _totals(last.get(name))
        wanted = (
            HourlyTotals.model_validate(dict(zip(totals.columns, rows[name], strict=True)))
            if name in rows
            else None
        )
        place = f"{topic}, {record_key(*name)}"
        said_revision, revision = said.revision if said else 0, wanted.revision if wanted else 0
        if said_revision < revision:
            yield f"{place}: at revision {said_revision}, behind Postgres with {revision}"
        elif said_revision > revision and is_filled:
            yield f"{place}: at revision {said_revision}, ahead of Postgres with {revision}"
        elif said_revision == revision and said != wanted:
            yield f"{place}: other totals than Postgres in the same revision"


def _totals(record: Record | None) -> HourlyTotals | None:
    if record is None:
        return None
    try:
        event = decode_total(record.value)
    except UnreadableRecord:
        return None
    return event.data if isinstance(event, HourlyUsage) else None
