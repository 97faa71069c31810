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
    """A part of a statement whose bytes are settled. Part 1 is the statement itself, which is sent last."""

    closed: Closed
    value: bytes
    part: int = 1

    @property
    def record_key(self) -> bytes:
        further = f"/{self.part}" if self.part > 1 else ""
        return f"{self.closed.lineage_id}/{month_text(self.closed.month)}{further}".encode()


class Unnamed(NamedTuple):
    """A lineage, by one of the months in which it has use that no statement has named.

    `hours`: how many such hours it has in all months that are due. `is_waiting`: for a statement of its own
    that is on its way, or that lacks parts.
    """

    place: Closed
    is_known: bool
    is_waiting: bool
    hours: int
    due: Due

    @property
    def is_first(self) -> bool:
        """Whether it is the lineage's first such month: each lineage is looked at once."""
        return self.place.month == min([*self.due.open_months, *self.due.late_months], default=None)


class Books(Protocol):
    """What closing asks of Postgres, over one connection. Each call raises psycopg's errors."""

    async def lock(self) -> bool:
        """Whether nobody else is closing months now. Held until the connection ends."""
        ...

    async def due(self, before: date, after: Closed | None, limit: int) -> Sequence[Unnamed]:
        """The next lineages with use in months before that one which no statement has named, by month.

        `after`: the last one that was told; None to begin with.
        """
        ...

    async def announced_until(self) -> datetime | None:
        """Up to when the projector says that uses are in `usage.hourly`, as far as that was read."""
        ...

    async def complete(self, until: datetime) -> None:
        """Tell others that the ledger has all uses that were appended before."""
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

    async def outgoing(self, after: Outgoing | None, limit: int) -> Sequence[Outgoing]:
        """The next parts that are settled and not read back, oldest months first, of each part 1 last."""
        ...

    async def forget_read_back(self) -> int:
        """Forget the bytes of statements that the log was read to have, and say how many."""
        ...
