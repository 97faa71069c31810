"""What follows from a topic, kept in Postgres: what a projection is, and what its runner tells."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import psycopg
from psycopg import AsyncConnection

from events.dead_letters import DeadLetter
from events.errors import LogUnavailable
from events.log import Record
from events.topics import Topic

#: Nobody's fault: what is tried again until it is in.
OUTAGES = (psycopg.OperationalError, psycopg.errors.IdleInTransactionSessionTimeout, LogUnavailable)

Confirm = Callable[[AsyncConnection[Any]], Awaitable[None]]
#: Of a topic's partition, over a connection that is in no transaction.
ConfirmMarks = Callable[[AsyncConnection[Any], str, int], Awaitable[None]]


class Projection(Protocol):
    """What follows from the records of one topic, kept in Postgres."""

    @property
    def name(self) -> str: ...
    @property
    def topic(self) -> Topic: ...
    @property
    def dead_letter_topic(self) -> str | None:
        """Where records go that somebody has to look at; None: `apply` names none."""
        ...

    async def apply(
        self, connection: AsyncConnection[Any], records: Sequence[Record]
    ) -> Sequence[DeadLetter]:
        """Write what follows from records of one partition, in order, within the open transaction.

        Returns the records that somebody has to look at. Must be a function of the records and of what
        earlier ones have written, so that a rebuild writes the same however batches are cut.
        """
        ...


class ProjectionMetrics(Protocol):
    """What a runner tells about its work."""

    def batch_applied(self, partition: int, records: int, seconds: float, age_seconds: float) -> None:
        """`seconds` from the batch in hand to its commit; `age_seconds` since its first record's append."""
        ...

    def lag(self, partition: int, records: int) -> None: ...
    def oldest_unapplied(self, partition: int, seconds: float) -> None:
        """How old the first record is that is not applied yet; 0 where all are."""
        ...

    def held_up(self, partition: int, records: int, seconds: float) -> None:
        """`records` wait for the end of a foreign transaction, since `seconds`."""
        ...

    def partition_lost(self, partition: int) -> None: ...
    def stale_owner(self, partition: int) -> None: ...
    def dead_letter(self, reason: str) -> None: ...
