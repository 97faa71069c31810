"""Who may write what follows from a partition: its last claimant, and nobody else."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.errors import LockNotAvailable

from events.errors import EventsError
from events.log import Record
from events.log_marks import mark_of
from events.queries import load_queries

_QUERIES = load_queries("events", "projection.sql")

logger = logging.getLogger(__name__)


class StaleOwner(EventsError):
    """Somebody else has claimed the partition since, or it is not where we left it."""


@dataclass(slots=True)
class Claim:
    """Our right to a partition, for one projection. What lies before `next_offset` is applied."""

    projection: str
    topic: str
    partition: int
    owner_epoch: int
    next_offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition} from offset {self.next_offset}"


async def claim_partition(
    connection: AsyncConnection[Any], projection: str, topic: str, partition: int
) -> Claim:
    """Claim the partition, from offset 0 when it was never claimed. Waits for a batch in progress there."""
    names = {"projection": projection, "topic": topic, "partition": partition}
    row = await (await connection.execute(_QUERIES["claim"], names)).fetchone()
    assert row is not None
    owner_epoch, next_offset = row
    return Claim(projection, topic, partition, owner_epoch, next_offset)


async def try_to_claim(
    connection: AsyncConnection[Any], projection: str, topic: str, partition: int
) -> Claim | None:
    """Within a transaction: claim the partition; None while a batch is in progress there: try again later.

    An owner that has stopped in the middle of its batch is ended, so that it holds up nobody for long. One
    that wakes up finds its batch undone, and that the partition is not its own any more.
    """
    await connection.execute(_QUERIES["wait_briefly"])
    try:
        async with connection.transaction():
            return await claim_partition(connection, projection, topic, partition)
    except LockNotAvailable:
        names = {"projection": projection, "topic": topic, "partition": partition}
        if (await connection.execute(_QUERIES["end_silent_owner"], names)).rowcount:
            logger.warning("ended a batch of %s/%s: its owner has lost the partition", topic, partition)
        return None


async def advance(
    connection: AsyncConnection[Any], claim: Claim, next_offset: int, records: Sequence[Record] = ()
) -> None:
    """Within a transaction: pass everything before `next_offset`. Raises `StaleOwner`: roll back then.

    The last of the `records` that are passed is remembered, to tell this log from one that has lost them.
    """
    mark = mark_of(records[-1]) if records else None
    cursor = await connection.execute(
        _QUERIES["advance"],
        {
            "projection": claim.projection,
            "topic": claim.topic,
            "partition": claim.partition,
            "owner_epoch": claim.owner_epoch,
            "began_at": claim.next_offset,
            "next_offset": next_offset,
            "record_offset": mark and mark.offset,
            "appended_ms": mark and mark.appended_ms,
            "digest": mark and mark.digest,
        },
    )
    if cursor.rowcount != 1:
        raise StaleOwner(f"{claim} is no longer ours")
