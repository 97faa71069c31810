"""`billing.statements` -> `billing.statement`: the first record of a lineage's month is its statement."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from typing import Any

from psycopg import AsyncConnection

from events.dead_letters import DeadLetter
from events.log import Record
from events.queries import load_queries
from events.topics import Topics
from events.totals import Statement
from services.billing.reading import parse_hour, parse_month, read_statement, readable

_QUERIES = load_queries("services.billing")

#: Whose statement it is, and for which month.
Place = tuple[str, date]
Row = tuple[Any, ...]


class StatementsProjection:
    """Keeps the statements, their lines, and which revisions they were computed from."""

    name = "statements"
    dead_letter_topic = None

    def __init__(self, topics: Topics, on_unreadable: Callable[[], None]) -> None:
        self.topic = topics.statements
        self._on_unreadable = on_unreadable

    async def apply(
        self, connection: AsyncConnection[Any], records: Sequence[Record]
    ) -> Sequence[DeadLetter]:
        """See `Projection.apply`."""
        first: dict[Place, tuple[Row, Statement]] = {}
        for record, event in readable(records, read_statement, self._on_unreadable):
            row = statement_row(record, event.data)
            first.setdefault((row[0], row[1]), (row, event.data))
        if not first:
            return ()
        ours = await _write(connection, "write_statements", (row for row, _ in first.values()))
        new = [first[str(lineage_id), month][1] for lineage_id, month in ours]
        await _write(connection, "write_lines", (row for one in new for row in line_rows(one)))
        await _write(connection, "write_named", (row for one in new for row in named_rows(one)))
        return ()


def statement_row(record: Record, statement: Statement) -> Row:
    month = parse_month(statement.month)
    return (statement.lineage_id, month, record.partition, record.offset, statement.total)


def line_rows(statement: Statement) -> list[Row]:
    month = parse_month(statement.month)
    return [
        (
            statement.lineage_id,
            month,
            position,
            line.kind,
            parse_month(line.month),
            line.requests,
            line.predictions,
            line.compute_us,
            line.billable_predictions,
            line.unit_price,
            line.amount,
        )
        for position, line in enumerate(statement.lines)
    ]


def named_rows(statement: Statement) -> list[tuple[str, datetime, str, int]]:
    """Key, hour, lineage and revision of all that the statement was computed from."""
    return [
        (key_id, parse_hour(hour), statement.lineage_id, revision)
        for key_id, hours in statement.revisions.items()
        for hour, revision in hours.items()
    ]


async def _write(connection: AsyncConnection[Any], query: str, rows: Iterable[Row]) -> list[Row]:
    """Write rows, sorted as the table is, and return what the query does; nothing for no rows."""
    columns = list(zip(*sorted(rows, key=lambda row: row[:3]), strict=True))
    if not columns:
        return []
    names = (f"column_{number}" for number in range(len(columns)))
    cursor = await connection.execute(_QUERIES[query], dict(zip(names, map(list, columns), strict=True)))
    return await cursor.fetchall() if cursor.description is not None else []
