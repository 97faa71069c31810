"""What the projector does when an operator accepts that a topic has lost records.

Lifecycle events that are lost are put back into the log from the rows: a revocation must never be undone by a
broken disk. Use that is lost stays counted: it was acknowledged, and may have been billed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from psycopg import AsyncConnection

from events.codec import encode
from events.errors import UnreadableRecord
from events.json_schema import event_type
from events.keeper.mark_trail import Refusal
from events.keys import (
    IssuedKey,
    KeyCreated,
    KeyEvent,
    KeyRefingerprinted,
    KeyRevoked,
    KeyRotated,
    Refingerprinting,
    Revocation,
    Rotation,
)
from events.lifecycle import read_event
from events.lineage import Key, Lineage
from events.log import EventLog, LogReader
from events.log_reading import records_before
from events.queries import load_queries
from events.topics import Topics
from services.projector.rows import lineages_from_rows

_QUERIES = load_queries("services.projector", "losses.sql")
_ROWS = load_queries("services.projector")

SOURCE = "hokusai-auth/log"
PUT_BACK = "put back: the log had lost this event, the reason was lost with it"


class KnownEvent(NamedTuple):
    """A row of the audit trail of keys."""

    record_offset: int
    event_id: str | None
    type: str | None
    lineage_id: str | None
    key_id: str | None
    sequence: int | None
    time: datetime | None
    actor: str | None
    correlationid: str | None
    outcome: str


async def put_back(
    connection: AsyncConnection[Any], refusal: Refusal, topics: Topics, reader: LogReader, log: EventLog
) -> Sequence[Mapping[str, Any]]:
    """Append the lifecycle events that the log has lost and the rows know; returns what is known of them.

    They are the events that they were, but for the source, the reason of a revocation, and fingerprints: a
    key has the newest one from its beginning. Appending some of them twice changes nothing. Nothing is known
    of the records of other topics.
    """
    if refusal.topic != topics.lifecycle.name:
        return ()
    standing = await _event_ids(reader, refusal.partition)
    lost = [event for event in await _events_from(connection, refusal) if event.event_id not in standing]
    lineages = await _lineages(connection, {event.lineage_id for event in lost if event.lineage_id})
    for event in lost:
        lineage = lineages.get(event.lineage_id or "")
        if event.outcome == "applied" and lineage is not None:
            again = rebuilt(event, lineage)
            await log.append(refusal.topic, again.partitionkey.encode(), encode(again))
    return [{**event._asdict(), "time": event.time and event.time.isoformat()} for event in lost]


async def follow_loss(connection: AsyncConnection[Any], refusal: Refusal, topics: Topics) -> None:
    """Within the transaction that accepts it, and after that: see that the rows follow from the log again."""
    place = {"topic": refusal.topic, "partition": refusal.partition}
    if refusal.topic == topics.lifecycle.name:
        await connection.execute(_QUERIES["forget_lineages"], place)
        await connection.execute(_QUERIES["fold_anew"], place)
    elif refusal.topic == topics.hourly_usage.name:
        for query in ("forget_published", "publish_again", "read_published_anew"):
            await connection.execute(_QUERIES[query], place)


def rebuilt(event: KnownEvent, lineage: Lineage) -> KeyEvent:
    """The event that a row of the audit trail tells of, from the lineage that it has led to."""
    assert event.key_id is not None
    envelope: dict[str, Any] = {
        "id": event.event_id,
        "source": SOURCE,
        "subject": event.key_id,
        "partitionkey": lineage.lineage_id,
        "sequence": event.sequence,
        "time": event.time,
        "actor": event.actor,
        "correlationid": event.correlationid,
    }
    key = lineage.find(event.key_id)
    if event.type == event_type(KeyRevoked):
        return KeyRevoked(**envelope, data=Revocation(key_id=event.key_id, reason=PUT_BACK))
    assert key is not None
    if event.type == event_type(KeyCreated):
        return KeyCreated(**envelope, data=_issued(key))
    if event.type == event_type(KeyRefingerprinted):
        newest = Refingerprinting(
            key_id=key.key_id, fingerprint=key.fingerprint.hex(), pepper_id=key.pepper_id
        )
        return KeyRefingerprinted(**envelope, data=newest)
    new = lineage.find(key.superseded_by or "")
    assert new is not None
    rotation = Rotation(key_id=event.key_id, new_key=_issued(new), valid_until=key.valid_until)
    return KeyRotated(**envelope, data=rotation)


def _issued(key: Key) -> IssuedKey:
    return IssuedKey(
        **key.settings._asdict(),
        key_id=key.key_id,
        lineage_id=key.lineage_id,
        expires_at=key.expires_at,
        key_prefix=key.key_prefix,
        bcrypt_hash=key.bcrypt_hash,
        fingerprint=key.fingerprint.hex(),
        pepper_id=key.pepper_id,
    )


async def _event_ids(reader: LogReader, partition: int) -> frozenset[str]:
    """Of every lifecycle event that the partition holds now."""
    ids = set()
    end = (await reader.end_offsets()).get(partition, 0)
    async for records in records_before(reader, {partition: end}):
        for record in records:
            try:
                ids.add(read_event(record).id)
            except UnreadableRecord:
                continue
    return frozenset(ids)


async def _events_from(connection: AsyncConnection[Any], refusal: Refusal) -> Sequence[KnownEvent]:
    cursor = await connection.execute(_QUERIES["events_from"], refusal._asdict())
    return [KnownEvent(*row) for row in await cursor.fetchall()]


async def _lineages(connection: AsyncConnection[Any], lineage_ids: Collection[str]) -> Mapping[str, Lineage]:
    named = {"lineage_ids": sorted(lineage_ids)}
    lineages = await (await connection.execute(_ROWS["load_lineages"], named)).fetchall()
    keys = await (await connection.execute(_ROWS["load_keys"], named)).fetchall()
    return lineages_from_rows(lineages, keys)
