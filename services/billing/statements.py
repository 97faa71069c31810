"""`billing.statements` -> `billing.statement`: the first record of a lineage's month is its statement."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from datetime import date, datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from events.dead_letters import DeadLetter
from events.log import Record
from events.queries import load_queries
from events.topics import Topics
from events.totals import Revisions, RevisionsPart, Statement, StatementClosed
from services.billing.reading import parse_hour, parse_month, read_statement, readable

_QUERIES = load_queries("services.billing")

#: Far fewer than a query has time for.
NAMED_AT_ONCE = 20_000

#: Whose statement it is, and for which month.
Place = tuple[str, date]
Row = tuple[Any, ...]
#: Key, hour, lineage and revision.
NamedRow = tuple[str, datetime, str, int]


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
        parts: list[RevisionsPart] = []
        for record, event in readable(records, read_statement, self._on_unreadable):
            if isinstance(event, StatementClosed):
                row = statement_row(record, event.data)
                first.setdefault((row[0], row[1]), (row, event.data))
            else:
                parts.append(event.data)
        several = {place for place, (_, statement) in first.items() if statement.parts}
        several |= {(part.lineage_id, parse_month(part.month)) for part in parts}
        await _lock(connection, several)
        ours = await _write(connection, "write_statements", (row for row, _ in first.values()))
        new = [first[str(lineage_id), month][1] for lineage_id, month in ours]
        await _write(connection, "write_lines", (row for one in new for row in line_rows(one)))
        for part in parts:
            await connection.execute(_QUERIES["write_part"], part_row(part))
        named = [row for one in new for row in named_rows(one)]
        named += await _apply_parts(connection, several)
        await _write_named(connection, named)
        return ()


async def _lock(connection: AsyncConnection[Any], places: Set[Place]) -> None:
    """Parts of a statement stand in several partitions: whoever reads the last one has to see all others."""
    if places:
        texts = [f"{lineage_id}/{month}" for lineage_id, month in places]
        await connection.execute(_QUERIES["lock_statements"], {"places": texts})


async def _apply_parts(connection: AsyncConnection[Any], places: Set[Place]) -> list[NamedRow]:
    """What further parts tell of the statements that are known; each part is asked for once."""
    if not places:
        return []
    rows: list[NamedRow] = []
    lineage_ids, months = map(list, zip(*sorted(places), strict=True))
    named = {"lineage_ids": lineage_ids, "months": months}
    while row := await (await connection.execute(_QUERIES["apply_part"], named)).fetchone():
        rows += revision_rows(*row)
    return rows


async def _write_named(connection: AsyncConnection[Any], rows: Iterable[NamedRow]) -> None:
    """In the order of the table, so that transactions that meet wait for each other in one direction only."""
    ordered = sorted(rows, key=lambda row: row[:2])
    for first in range(0, len(ordered), NAMED_AT_ONCE):
        await _write(connection, "write_named", ordered[first : first + NAMED_AT_ONCE])


def part_row(part: RevisionsPart) -> dict[str, Any]:
    return {
        "lineage_id": part.lineage_id,
        "month": parse_month(part.month),
        "digest": part.digest,
        "part": part.part,
        "revisions": Jsonb(part.revisions),
    }


def statement_row(record: Record, statement: Statement) -> Row:
    month = parse_month(statement.month)
    return (
        statement.lineage_id,
        month,
        record.partition,
        record.offset,
        statement.total,
        statement.parts or 1,
        statement.digest,
    )


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


def named_rows(statement: Statement) -> list[NamedRow]:
    """What the statement was computed from, further parts aside."""
    return revision_rows(statement.lineage_id, statement.revisions)


def revision_rows(lineage_id: str, revisions: Revisions) -> list[NamedRow]:
    return [
        (key_id, parse_hour(hour), lineage_id, revision)
        for key_id, hours in revisions.items()
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
