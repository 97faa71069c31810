"""What an operator says about records that the log has lost: accepted, or restored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from events.keeper.mark_trail import Refusal
from events.queries import load_queries

_QUERIES = load_queries("events.keeper", "log_marks.sql")


async def accept_loss(
    connection: AsyncConnection[Any], refusal: Refusal, actor: str, reason: str, lost: Sequence[object]
) -> None:
    """Within a transaction: note that the records are given up, and read on with what stands there now.

    What they have led to stays in the rows. `lost` is what is known of them, for the audit trail.
    """
    values = {**refusal._asdict(), "actor": actor, "reason": reason, "lost": Jsonb(list(lost))}
    await connection.execute(_QUERIES["note_loss"], values)
    for query in ("forget_marks", "read_again", "lower_goals", "lift_refusal"):
        await connection.execute(_QUERIES[query], values)


async def lift_refusal(connection: AsyncConnection[Any], refusal: Refusal) -> None:
    """Read on where the rows have got to: nothing is lost any more."""
    await connection.execute(_QUERIES["lift_refusal"], refusal._asdict())


async def accepted_losses(connection: AsyncConnection[Any]) -> Sequence[str]:
    """A sentence for each loss that was accepted: what the lost records have led to is not in the log."""
    rows = await (await connection.execute(_QUERIES["losses"])).fetchall()
    return [
        f"{topic}/{partition}: offsets {first_lost} to {applied_to - 1} were given up by {actor} on "
        f"{accepted_at:%Y-%m-%d} ({reason})"
        for topic, partition, first_lost, applied_to, accepted_at, actor, reason in rows
    ]
