"""The books in Postgres, as closing asks for them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection, IsolationLevel

from events.keeper.database import connect
from events.queries import load_queries
from services.billing.accounts import Account
from services.billing.drafting import Due, LineageBooks
from services.billing.ports import Closed, Ends, Outgoing, Unnamed
from services.billing.rating import Charge, Use

_QUERIES = load_queries("services.billing")

#: Before all others.
_BEGINNING = Closed(date.min, str(UUID(int=0)))


class PostgresBooks:
    """`Books` over one connection of its own, which holds the lock of closing."""

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        self._connection = connection

    async def lock(self) -> bool:
        """See `Books.lock`."""
        ((is_ours,),) = await self._rows("lock_closing")
        return bool(is_ours)

    async def due(self, before: date, after: Closed | None, limit: int) -> Sequence[Unnamed]:
        """See `Books.due`."""
        rows = await self._rows("due", before=before, rows=limit, **(after or _BEGINNING)._asdict())
        return [
            Unnamed(Closed(month, lineage_id), is_known, is_waiting, hours or 0, Due(lineage_id, *months))
            for month, lineage_id, is_known, is_waiting, hours, *months in rows
        ]

    async def announced_until(self) -> datetime | None:
        """See `Books.announced_until`."""
        ((until,),) = await self._rows("announced_until")
        return until.astimezone(UTC) if until is not None else None

    async def complete(self, until: datetime) -> None:
        """See `Books.complete`."""
        await self._connection.execute(_QUERIES["complete"], {"until": until})

    async def have_passed(self, ends: Ends) -> bool:
        """See `Books.have_passed`."""
        passed = {(topic, partition): offset for topic, partition, offset in await self._rows("positions")}
        return all(passed.get(place, 0) >= end for place, end in ends.items())

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[None]:
        """See `Books.snapshot`."""
        async with self._connection.transaction():
            yield

    async def open(self, closed: Sequence[Closed]) -> Sequence[tuple[Closed, LineageBooks]]:
        """See `Books.open`."""
        lineage_ids = [one.lineage_id for one in closed]
        named = {"lineage_ids": lineage_ids, "months": [one.month for one in closed]}
        use: defaultdict[str, dict[date, Use]] = defaultdict(dict)
        for lineage_id, month, *sums in await self._rows("use_of", **named):
            use[lineage_id][month] = Use(*map(int, sums))
        unnamed: defaultdict[str, list[tuple[str, datetime, int]]] = defaultdict(list)
        for lineage_id, *place in await self._rows("unnamed_of", **named):
            unnamed[lineage_id].append((place[0], place[1], place[2]))
        billed: defaultdict[str, dict[date, Charge]] = defaultdict(dict)
        for lineage_id, month, *sums, billable, amount in await self._rows(
            "billed_of", lineage_ids=lineage_ids
        ):
            billed[lineage_id][month] = Charge(Use(*map(int, sums)), int(billable), amount)
        accounts = {row[0]: Account(*row) for row in await self._rows("accounts_of", lineage_ids=lineage_ids)}
        return [
            (one, LineageBooks(accounts[id_], use[id_], unnamed[id_], billed[id_]))
            for one in closed
            if (id_ := one.lineage_id) in accounts
        ]

    async def settle(self, statements: Sequence[Outgoing]) -> None:
        """See `Books.settle`."""
        async with self._connection.cursor() as cursor:
            await cursor.executemany(
                _QUERIES["write_outgoing"],
                [
                    {"lineage_id": closed.lineage_id, "month": closed.month, "part": part, "value": value}
                    for closed, value, part in statements
                ],
            )

    async def outgoing(self, after: Outgoing | None, limit: int) -> Sequence[Outgoing]:
        """See `Books.outgoing`."""
        place = after.closed._asdict() if after else {"lineage_id": None, "month": None}
        rows = await self._rows("outgoing", rows=limit, part=after and after.part, **place)
        return [Outgoing(Closed(month, lineage_id), value, part) for lineage_id, month, part, value in rows]

    async def forget_read_back(self) -> int:
        """See `Books.forget_read_back`."""
        return len(set(await self._rows("settle_outgoing")))

    async def _rows(self, query: str, **parameters: object) -> list[Any]:
        return await (await self._connection.execute(_QUERIES[query], parameters)).fetchall()


@asynccontextmanager
async def open_books(database_url: str) -> AsyncIterator[PostgresBooks]:
    """Books over a connection that ends with them. Raises psycopg's errors."""
    async with await connect(database_url, "billing") as connection:
        await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
        yield PostgresBooks(connection)
