"""Books in memory, which may be behind, locked or slow, and a log that refuses some statements."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime

from psycopg.errors import QueryCanceled

from events.errors import LogUnavailable
from events.log import Position
from events.memory_log import MemoryLog
from services.billing.drafting import Due, LineageBooks
from services.billing.ports import Closed, Ends, Outgoing, Unnamed
from tests.billing_builders import JANUARY, TOPICS


class BooksInMemory:
    """`Books` of lineages with use in January. A statement is read back once it was sent often enough."""

    def __init__(self, log: MemoryLog, *opened: LineageBooks) -> None:
        self._log = log
        self._opened = {one.account.lineage_id: one for one in opened}
        self._closed: set[Closed] = set()
        self._outgoing: dict[bytes, Outgoing] = {}
        self.announced: datetime | None = datetime(2100, 1, 1, tzinfo=UTC)
        self.complete_until: datetime | None = None
        self.pages: list[int] = []
        self.timeouts: list[bool] = []
        self.is_locked_by_others = False
        self.is_behind = False
        self.unknown: list[str] = []
        self.sendings_until_read_back = 1
        self.opened_together: list[int] = []
        self.most_opened = 1000
        self.too_large = ""

    def add(self, opened: LineageBooks) -> None:
        self._opened[opened.account.lineage_id] = opened

    async def lock(self) -> bool:
        return not self.is_locked_by_others

    async def due(self, before: date, after: Closed | None, limit: int) -> Sequence[Unnamed]:
        if self.timeouts and self.timeouts.pop():
            raise QueryCanceled("canceling statement due to statement timeout")
        closed = {one.lineage_id for one in self._closed}
        waiting = {one.closed.lineage_id for one in self._outgoing.values()}
        found = [
            Unnamed(
                Closed(JANUARY, lineage_id),
                lineage_id not in self.unknown,
                lineage_id in waiting,
                1,
                Due(lineage_id, [JANUARY], [], None),
            )
            for lineage_id in sorted([*self._opened.keys() - closed, *self.unknown])
            if before > JANUARY
        ]
        self.pages.append(limit)
        return [one for one in found if after is None or one.place > after][:limit]

    async def announced_until(self) -> datetime | None:
        return self.announced

    async def complete(self, until: datetime) -> None:
        self.complete_until = until

    async def have_passed(self, ends: Ends) -> bool:
        return not self.is_behind

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[None]:
        yield

    async def open(self, closed: Sequence[Closed]) -> Sequence[tuple[Closed, LineageBooks]]:
        self.opened_together.append(len(closed))
        if len(closed) > self.most_opened or closed[0].lineage_id == self.too_large:
            raise QueryCanceled("canceling statement due to statement timeout")
        return [(one, self._opened[one.lineage_id]) for one in closed]

    async def settle(self, statements: Sequence[Outgoing]) -> None:
        for one in statements:
            self._outgoing.setdefault(one.record_key, one)

    async def outgoing(self, after: Outgoing | None, limit: int) -> Sequence[Outgoing]:
        waiting = sorted(self._outgoing.values(), key=_order)
        return [one for one in waiting if after is None or _order(one) > _order(after)][:limit]

    async def forget_read_back(self) -> int:
        values = [value for _, value in await sent(self._log)]
        read = {
            one.closed
            for one in self._outgoing.values()
            if one.part == 1 and values.count(one.value) >= self.sendings_until_read_back
        }
        self._closed |= read
        self._outgoing = {key: one for key, one in self._outgoing.items() if one.closed not in read}
        return len(read)


def _order(one: Outgoing) -> tuple[Closed, int]:
    return one.closed, -one.part


class RefusingLog(MemoryLog):
    """A log that takes nothing of some lineages."""

    def __init__(self, errors: Mapping[str, LogUnavailable]) -> None:
        super().__init__()
        self._errors = errors
        self.attempts: Counter[str] = Counter()

    async def append(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Position:
        lineage_id = (key or b"").decode().partition("/")[0]
        self.attempts[lineage_id] += 1
        if lineage_id in self._errors:
            raise self._errors[lineage_id]
        return await super().append(topic, key, value, headers)


async def sent(log: MemoryLog) -> list[tuple[bytes | None, bytes | None]]:
    reader = log.reader(TOPICS.statements)
    await reader.begin({})
    return [(record.key, record.value) for record in await reader.read(timeout_seconds=0)]
