"""Are the sums of uses what the log says? Counted anew, and compared share by share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from psycopg import AsyncConnection

from events.keeper.spool import SHARES, Spool
from events.lineage import Lineage
from events.log import LogReader
from events.log_reading import records_before
from services.projector.rows import Row
from services.projector.verification_tables import QUERIES, Progress, Table, differences, ends_to_compare
from services.projector.verification_uses import CountedUses, SpooledRows

ROWS_AT_A_TIME = 5000


async def compare_usage(
    connection: AsyncConnection[Any],
    reader: LogReader,
    topic: str,
    lineages: Mapping[str, Lineage],
    on_progress: Progress = lambda done, total: None,
) -> list[str]:
    """One sentence for each row that differs, for what the connection's transaction sees.

    `lineages` are those that Postgres knows. Uses and rows are on disk meanwhile: see `verification_uses`.
    """
    ends, found = await ends_to_compare(connection, reader, topic)
    partitions = len(await reader.end_offsets())
    done = 0
    with CountedUses(lineages.values(), partitions) as counted:
        async for records in records_before(reader, ends):
            for record in records:
                counted.add(record)
            done += len(records)
            on_progress(done, sum(ends.values()))
        counted.count()
        for query, name, wanted in (
            ("all_hours", "use of key {}, hour {}", counted.hours),
            ("all_months", "use of key {}, month {}, endpoint {}", counted.months),
            ("all_days", "use on day {}, service {}, of keys of partition {}", counted.days),
            ("all_last_uses", "last use of key {}", counted.last),
            ("all_progress", "progress of partition {}", counted.progress),
        ):
            width = name.count("{}")
            with Spool[Row, Row]() as rows:
                columns = await _copy(connection, query, width, rows)
                found += _differences(wanted, columns, rows, name, width)
    return found


async def _copy(
    connection: AsyncConnection[Any], query: str, width: int, rows: Spool[Row, Row]
) -> Sequence[str]:
    """Put the rows of a query on disk, dealt out by their first columns. Returns the names of all columns."""
    async with connection.cursor(name="auditor") as cursor:
        cursor.itersize = ROWS_AT_A_TIME
        await cursor.execute(QUERIES[query])
        assert cursor.description is not None
        columns = [column.name for column in cursor.description]
        async for row in cursor:
            rows.add(row[:width], row)
    return columns


def _differences(
    wanted: SpooledRows, columns: Sequence[str], rows: Spool[Row, Row], name: str, width: int
) -> Iterator[str]:
    for number in range(SHARES):
        found = Table(columns, [row for _, row in rows.share(number)])
        yield from differences(
            wanted.share(number), found, itemgetter(slice(width)), lambda place: name.format(*place)
        )
