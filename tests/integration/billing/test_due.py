"""Which lineages are due is found by probes of an index, a page at a time, however much the ledger holds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from psycopg import AsyncConnection

from events.queries import load_queries
from services.billing.books import PostgresBooks
from services.billing.ports import Closed, Unnamed
from tests.billing_builders import FEBRUARY, JANUARY, MARCH

pytestmark = pytest.mark.anyio

_QUERIES = load_queries("services.billing")

DECEMBER = date(2025, 12, 1)
LINEAGES = 1000
HOURS = 300

#: Lineages 1 to 1000 with use in every hour, of which a statement has named the first months.
_FILL = """
INSERT INTO billing.hour (key_id, hour, lineage_id, revision, named_revision, requests)
SELECT lpad(to_hex(lineage), 32, '0')::uuid, '{month}'::timestamptz + hour * interval '1 hour',
       lpad(to_hex(lineage), 32, '0')::uuid, 2, {named}, 2
FROM generate_series(1, {lineages}) AS lineage, generate_series(0, {hours} - 1) AS hour
"""


@pytest.fixture
async def filled(connection: AsyncConnection[Any]) -> AsyncConnection[Any]:
    """A running month that nothing was billed of, one that was billed, and little that is due."""
    await _fill(connection, MARCH, LINEAGES, HOURS, named=0)
    await _fill(connection, JANUARY, LINEAGES, HOURS, named=2)
    await _fill(connection, FEBRUARY, 30, 200, named=0)
    await connection.execute("ANALYZE billing.hour")
    return connection


async def _fill(connection: AsyncConnection[Any], month: date, lineages: int, hours: int, named: int) -> None:
    statement = _FILL.format(month=f"{month} 00:00Z", lineages=lineages, hours=hours, named=named)
    await connection.execute(statement.encode())


def _lineage(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012x}"


async def test_every_lineage_that_is_due_is_on_one_page(filled: AsyncConnection[Any]) -> None:
    books = PostgresBooks(filled)
    found: list[Unnamed] = []
    last: Closed | None = None
    while page := await books.due(MARCH, last, 7):
        assert len(page) <= 7
        found += page
        last = page[-1].place
    assert [one.place for one in found] == [Closed(FEBRUARY, _lineage(number)) for number in range(1, 31)]
    assert {one.hours for one in found} == {200}
    assert all(one.is_first and one.due.open_months == [FEBRUARY] for one in found)


async def test_nothing_that_is_not_due_is_read_to_find_a_page(filled: AsyncConnection[Any]) -> None:
    nodes = list(await _nodes(filled, before=MARCH))
    assert not [node for node in nodes if node["Node Type"] == "Seq Scan" and node["Relation Name"] == "hour"]
    assert _rows_of_hours(nodes) < 15 * 200 + 10 * 15, "it read more than the hours of what is on the page"


async def test_where_nothing_is_due_hardly_anything_is_read(filled: AsyncConnection[Any]) -> None:
    assert _rows_of_hours(await _nodes(filled, before=FEBRUARY)) < 10


async def test_a_lineage_is_looked_at_in_its_first_month_and_told_of_all(
    connection: AsyncConnection[Any],
) -> None:
    for month in (DECEMBER, JANUARY, FEBRUARY):
        await _fill(connection, month, lineages=1, hours=2, named=0)
    await connection.execute(
        "INSERT INTO billing.statement VALUES (%s, %s, 0, 0, 0, 1)", (_lineage(1), DECEMBER)
    )
    found = await PostgresBooks(connection).due(MARCH, None, 10)
    assert [(one.place.month, one.is_first) for one in found] == [
        (DECEMBER, True),
        (JANUARY, False),
        (FEBRUARY, False),
    ]
    for one in found:
        assert (one.due.late_months, one.due.open_months) == ([DECEMBER], [JANUARY, FEBRUARY])
        assert (one.due.last_closed, one.hours) == (DECEMBER, 6)


async def _nodes(connection: AsyncConnection[Any], before: date) -> Iterator[dict[str, Any]]:
    """How Postgres has found a page of 15."""
    values = {"before": before, "month": date.min, "lineage_id": _lineage(0), "rows": 15}
    explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {_QUERIES['due']}"
    row = await (await connection.execute(explain.encode(), values)).fetchone()
    assert row is not None
    return _walk(row[0][0]["Plan"])


def _walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from _walk(child)


def _rows_of_hours(nodes: Iterator[dict[str, Any]] | list[dict[str, Any]]) -> float:
    """Rows of the ledger, or of an index of it, that were read or thrown away."""
    counts: Iterator[float] = (
        node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0))
        for node in nodes
        if node.get("Relation Name") == "hour" or node.get("Index Name") == "hour_unnamed"
    )
    return sum(counts)
