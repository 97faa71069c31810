"""Who may write what follows from a partition: its last claimant, and nobody else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection

from events.errors import EventsError
from events.queries import load_queries

_QUERIES = load_queries("events", "projection.sql")


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


async def advance(connection: AsyncConnection[Any], claim: Claim, next_offset: int) -> None:
    """Within a transaction: pass everything before `next_offset`. Raises `StaleOwner`: roll back then."""
    cursor = await connection.execute(
        _QUERIES["advance"],
        {
            "projection": claim.projection,
            "topic": claim.topic,
            "partition": claim.partition,
            "owner_epoch": claim.owner_epoch,
            "began_at": claim.next_offset,
            "next_offset": next_offset,
        },
    )
    if cursor.rowcount != 1:
        raise StaleOwner(f"{claim} is no longer ours")
