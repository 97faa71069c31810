"""Replays of uses that were refused because their key was unknown: they count once, as of their append.

Only these can be judged otherwise by the same reader. A newer reader fills its schema again, and judges every
original in its place. So a replay counts where this schema has refused its original and nothing of the same
identity has counted since; whatever else says that it is a replay is a record like any other.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection

from events.dead_letters import DeadLetter
from events.log import PlainRecord, Position, Record
from events.queries import load_queries
from events.replays import content_digest, own_headers, replayed_place
from events.usage import KeyUsed
from services.projector.array_text import array_text

_QUERIES = load_queries("services.projector", "usage_replays.sql")

#: As long as the topic of dead letters keeps them.
KEPT_MS = 90 * 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class Restored(PlainRecord):
    """A replay in the place of its original: with its offset and append time.

    `refused`: which of its uses, by key_id and id, were refused and have not counted since.
    """

    refused: frozenset[tuple[str, str]] = frozenset()


async def restore_replays(connection: AsyncConnection[Any], records: Sequence[Record]) -> Sequence[Record]:
    """The records of one partition, in order; a true replay stands in the place of its original."""
    claims = [(record, place) for record in records if record.headers and (place := replayed_place(record))]
    if not claims:
        return records
    values = {"partition": records[0].partition, "offsets": [place.offset for _, place in claims]}
    rows = await (await connection.execute(_QUERIES["refused_originals"], values)).fetchall()
    originals = {offset: (appended_ms, bytes(digest)) for offset, appended_ms, digest, _, _ in rows}
    refused: dict[int, set[tuple[str, str]]] = {}
    for offset, _, _, key_id, event_id in rows:
        refused.setdefault(offset, set()).add((key_id, event_id))
    restored: dict[int, Record] = {
        record.offset: _restored(record, place, originals[place.offset][0], refused[place.offset])
        for record, place in claims
        if place.offset in originals and originals[place.offset][1] == content_digest(record)
    }
    return [restored.get(record.offset, record) for record in records]


def is_judged(record: Record, use: KeyUsed | DeadLetter) -> bool:
    """Whether this of the record is to be judged: of a replay only those of its uses that were refused.

    Others of the same batch have counted, or have a letter.
    """
    if not isinstance(record, Restored):
        return True
    return isinstance(use, KeyUsed) and (use.data.key_id, use.id) in record.refused


async def settle(connection: AsyncConnection[Any], events: Sequence[KeyUsed]) -> None:
    """No replay counts any more of what counts now, or has counted."""
    key_ids = sorted({event.data.key_id for event in events})
    if not key_ids:
        return
    cursor = await connection.execute(_QUERIES["keys_with_refused"], {"key_ids": array_text(key_ids)})
    keys = {key_id for (key_id,) in await cursor.fetchall()}
    identities = sorted({(event.data.key_id, event.id) for event in events if event.data.key_id in keys})
    if identities:
        values = {
            "key_ids": [key_id for key_id, _ in identities],
            "event_ids": [event_id for _, event_id in identities],
        }
        await connection.execute(_QUERIES["settle"], values)


async def remember_refused(
    connection: AsyncConnection[Any], uses: Sequence[tuple[Record, KeyUsed]], newest_ms: int
) -> None:
    """Remember uses of one partition whose key is unknown, so that a replay can count later."""
    if not uses:
        return
    partition = uses[0][0].partition
    async with connection.cursor() as cursor:
        await cursor.executemany(
            _QUERIES["refuse"],
            [
                {
                    "partition": partition,
                    "record_offset": record.offset,
                    "appended_ms": record.timestamp,
                    "key_id": event.data.key_id,
                    "event_id": event.id,
                    "digest": content_digest(record),
                }
                for record, event in uses
            ],
        )
    await connection.execute(
        _QUERIES["forget_refused"], {"partition": partition, "oldest_ms": newest_ms - KEPT_MS}
    )


def needs_no_letter(letter: DeadLetter) -> bool:
    """Whether it is of a replay whose original has counted, or has a letter of its own.

    In a rebuild an original counts in its place, and what was its replay comes too late.
    """
    return letter.reason == "too old" and replayed_place(letter.record) is not None


def _restored(
    record: Record, original: Position, appended_ms: int, refused: Collection[tuple[str, str]]
) -> Record:
    return Restored(
        topic=record.topic,
        partition=record.partition,
        offset=original.offset,
        timestamp=appended_ms,
        timestamp_type=record.timestamp_type,
        key=record.key,
        value=record.value,
        headers=own_headers(record),
        refused=frozenset(refused),
    )
