"""What the closing of months asks of Postgres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date, datetime
from typing import NamedTuple, Protocol

from services.billing.drafting import Due, LineageBooks
from services.billing.months import month_text

#: Where partitions end, by topic and partition.
Ends = Mapping[tuple[str, int], int]


class Closed(NamedTuple):
    """A lineage and the month that is closed for it."""

    month: date
    lineage_id: str


class Outgoing(NamedTuple):
    """A statement whose bytes are settled."""

    closed: Closed
    value: bytes

    @property
    def record_key(self) -> bytes:
        return f"{self.closed.lineage_id}/{month_text(self.closed.month)}".encode()


class Books(Protocol):
    """What closing asks of Postgres, over one connection. Each call raises psycopg's errors."""

    async def lock(self) -> bool:
        """Whether nobody else is closing months now. Held until the connection ends."""
        ...

    async def due(self, before: datetime) -> tuple[Sequence[Due], Sequence[str]]:
        """Lineages with use before that moment which no statement has named; apart, those nobody created."""
        ...

    async def have_passed(self, ends: Ends) -> bool:
        """Whether the projections have applied all that the topics held up to there."""
        ...

    def snapshot(self) -> AbstractAsyncContextManager[None]:
        """What is asked within is of one moment; what is written is there once it ends, or not at all."""
        ...

    async def open(self, closed: Sequence[Closed]) -> Sequence[tuple[Closed, LineageBooks]]:
        """The books for statements of these lineages and months."""
        ...

    async def settle(self, statements: Sequence[Outgoing]) -> None:
        """Keep these bytes, and none but these, for what they close."""
        ...

    async def outgoing(self, limit: int) -> Sequence[Outgoing]:
        """Statements that are settled and were not read back, oldest months first."""
        ...

    async def forget_read_back(self) -> int:
        """Forget the bytes of statements that the log was read to have, and say how many."""
        ...
