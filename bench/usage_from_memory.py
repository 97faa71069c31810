"""The very SQL of the usage roll-ups, fed from memory: what Postgres alone could take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from aiokafka.partitioner import murmur2  # type: ignore[import-untyped]
from psycopg import AsyncConnection

from bench.progress import Progress
from bench.sample_keys import Record
from bench.servers import Place
from events.claims import advance, claim_partition
from events.group_member import LARGEST_BATCH_RECORDS
from events.keeper.database import connect
from events.log import PlainRecord
from events.projection_runner import BATCHES_IN_HAND
from events.usage import KeyUsed
from services.projector.usage import count_uses, find_lineages, note_progress
from services.projector.usage_judging import judge
from services.projector.usage_rows import Use

PROJECTION = "bench"


Batch = tuple[list[PlainRecord], list[Use]]


async def feed_from_memory(place: Place, uses: Iterable[Record]) -> Progress:
    """Roll up all of them, a transaction a batch as the runner does, with all that needs no Postgres done.

    Decoding, judging and making rows are not in the time; claims, roll-ups and commits are. As many batches
    are in hand at once as the runner has, of different partitions.
    """
    records = _stored(place, uses)
    async with AsyncExitStack() as opened:
        connections = [
            await opened.enter_async_context(await connect(place.database_url, "projector"))
            for _ in range(BATCHES_IN_HAND)
        ]
        lineage_ids = await find_lineages(connections[0], {_key_id(r) for part in records for r in part})
        hands = [
            [
                (batch, [_use(record, lineage_ids, place.topics.usage.partitions) for record in batch])
                for batch in _in_turn(records[hand::BATCHES_IN_HAND])
            ]
            for hand in range(BATCHES_IN_HAND)
        ]
        began = time.perf_counter()
        await asyncio.gather(*map(_apply_all, connections, hands))
        seconds = time.perf_counter() - began
    return Progress(sum(map(len, records)), seconds)


async def _apply_all(connection: AsyncConnection[Any], batches: Sequence[Batch]) -> None:
    for batch in batches:
        await _apply(connection, batch)


async def _apply(connection: AsyncConnection[Any], batch: Batch) -> None:
    records, uses = batch
    first = records[0]
    claim = await claim_partition(connection, PROJECTION, first.topic, first.partition)
    async with connection.transaction():
        await advance(connection, claim, records[-1].offset + 1)
        await find_lineages(connection, {_key_id(record) for record in records})
        await count_uses(connection, uses)
        await note_progress(connection, records)


def _stored(place: Place, uses: Iterable[Record]) -> list[list[PlainRecord]]:
    """By partition, as Kafka would have placed and stamped them."""
    topic = place.topics.usage
    parts: list[list[PlainRecord]] = [[] for _ in range(topic.partitions)]
    now_ms = int(time.time() * 1000)
    for key, value in uses:
        partition = (murmur2(key) & 0x7FFFFFFF) % topic.partitions
        record = PlainRecord(topic.name, partition, len(parts[partition]), now_ms, key, value)
        parts[partition].append(record)
    return parts


def _in_turn(parts: list[list[PlainRecord]]) -> Iterator[list[PlainRecord]]:
    """A batch of each partition, then the next of each."""
    longest = max(len(part) for part in parts)
    for begin in range(0, longest, LARGEST_BATCH_RECORDS):
        yield from (batch for part in parts if (batch := part[begin : begin + LARGEST_BATCH_RECORDS]))


def _use(record: PlainRecord, lineage_ids: Mapping[str, str], partitions: int) -> Use:
    (event,) = judge(record)
    assert isinstance(event, KeyUsed)
    return Use.of(record, event, lineage_ids[event.data.key_id], partitions)


def _key_id(record: PlainRecord) -> str:
    assert record.key is not None
    return record.key.decode()
