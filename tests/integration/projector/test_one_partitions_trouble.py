"""What cannot be applied, or is too much at once, stops its partition only, and nothing for ever."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import psycopg
import pytest
from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]
from psycopg import AsyncConnection
from psycopg.errors import QueryCanceled

from events.codec import encode
from events.dead_letters import DeadLetter
from events.kafka_cluster import partition_ends
from events.kafka_log import KafkaEventLog
from events.log import Record
from services.projector.keys import KeysProjection
from tests.builders import a_key_created, some_usage
from tests.integration.projector.world import ProjectorProcess, World, eventually, lives
from tests.log_records import headers_of

pytestmark = pytest.mark.anyio

RECORDS = 300


class PickyKeys(KeysProjection):
    """Fails for one partition, or where there is more than it can take at once."""

    refused_partition: int | None = None
    most_at_once: int = 10_000

    async def apply(
        self, connection: AsyncConnection[Any], records: Sequence[Record]
    ) -> Sequence[DeadLetter]:
        if records and records[0].partition == self.refused_partition:
            raise ArithmeticError("nobody foresaw this")
        if len(records) > self.most_at_once:
            await connection.execute("SET LOCAL statement_timeout = 1")
            await connection.execute("SELECT pg_sleep(1)")
        return await super().apply(connection, records)


async def test_what_nobody_foresaw_in_one_partition_stops_that_partition_only(world: World) -> None:
    picky = PickyKeys(world.topics)
    places = await world.append(lives(RECORDS))
    picky.refused_partition = places[0].partition
    stopped = sum(place.partition == picky.refused_partition for place in places)
    async with world.runner(picky) as running:
        others = RECORDS - stopped
        await eventually(lambda: world.has_applied(others), "the other partitions")
        assert await world.applied() == others
        assert not running.done()
        await eventually(lambda: _oldest_seconds(world, places[0].partition) > 0, "word of its age")
        picky.refused_partition = None
        await world.caught_up(RECORDS)


async def test_a_batch_that_takes_too_long_is_halved_until_it_passes(world: World) -> None:
    picky = PickyKeys(world.topics)
    picky.most_at_once = 5
    await world.append(lives(RECORDS))
    async with world.runner(picky):
        await world.caught_up(RECORDS)


async def test_a_record_whose_key_and_value_fill_a_topics_record_becomes_a_dead_letter(world: World) -> None:
    """Its coordinates and what is wrong with it come on top; they have to fit as well."""
    created = a_key_created()
    process = world.projector()
    await world.append([created])
    async with KafkaEventLog(world.kafka) as log:
        place = await log.append(world.topics.usage.name, b"k" * 200_000, b"v" * 848_000)
    await world.append_usage([some_usage(key_id=created.subject)])
    await eventually(lambda: _uses_applied(world, 2), "both records")
    (letter,) = await world.read(world.topics.usage_dead_letters)
    headers = headers_of(letter)
    assert (headers["partition"], headers["offset"]) == (str(place.partition), str(place.offset))
    assert headers["cut.value"].startswith("848000 bytes, sha256 ")
    assert (letter.key, letter.value) == (b"k" * 200_000, None)
    assert process.is_running


async def test_a_flood_of_compressed_poison_is_told_once_each(world: World) -> None:
    """85 MB of dead letters in one batch take longer than any transaction may."""
    created = a_key_created()
    world.projector()
    await world.append([created])
    key = created.subject.encode()
    producer = AIOKafkaProducer(
        bootstrap_servers=world.kafka.bootstrap_servers,
        compression_type="gzip",
        max_batch_size=1_000_000,
        linger_ms=50,
    )
    await producer.start()
    try:
        for _ in range(5000):
            await producer.send(world.topics.usage.name, b"{" * 17_000, key)
        await producer.send_and_wait(world.topics.usage.name, encode(some_usage(key_id=created.subject)), key)
    finally:
        await producer.stop()
    await eventually(lambda: _uses_applied(world, 5001), "all of them", timeout_seconds=90)
    letters = await world.read(world.topics.usage_dead_letters)
    offsets = [int(headers_of(letter)["offset"]) for letter in letters]
    assert len(set(offsets)) == 5000
    assert len(offsets) < 1.1 * 5000


async def test_a_partition_that_nobody_can_claim_makes_the_process_not_ready(world: World) -> None:
    """Others get on, so nothing but this tells that use of its keys is not counted."""
    first = world.projector()
    await world.append(lives(RECORDS))
    await world.caught_up(RECORDS)
    await asyncio.to_thread(first.stop)
    async with _held(world, partition=3):
        process = world.projector()
        await eventually(lambda: _red(process) == ["progress"], "the process to be up")
        await world.append(lives(RECORDS))
        await eventually(lambda: _elsewhere(world, 2 * RECORDS), "the other partitions")
        assert _red(process) == ["progress"]
        await eventually(lambda: 'partition="3"' in "".join(_behind(process)), "the gauge to tell")
    await world.caught_up(2 * RECORDS)
    await eventually(lambda: _red(process) == [], "the process to be ready")


@asynccontextmanager
async def _held(world: World, partition: int) -> AsyncIterator[None]:
    """Somebody keeps the partition's row locked. He is at work, so that nobody takes him for silent."""
    async with await psycopg.AsyncConnection.connect(world.database_url) as holder:
        await holder.execute(
            "SELECT FROM projector.projection_offset WHERE projection = 'keys' AND partition = %s FOR UPDATE",
            [partition],
        )
        working = asyncio.create_task(holder.execute("SELECT pg_sleep(600)"))
        try:
            yield
        finally:
            await holder.cancel_safe()
            with suppress(QueryCanceled):
                await working


async def _elsewhere(world: World, records: int) -> bool:
    query = "SELECT sum(next_offset) FROM projector.positions WHERE partition <> 3 AND topic = %s"
    ends = await partition_ends(world.kafka, world.topics.lifecycle)
    assert sum(ends.values()) == records
    return bool(await world.value(query, world.topics.lifecycle.name) == records - ends[3])


def _red(process: ProjectorProcess) -> list[str]:
    """The checks of /ready that fail."""
    try:
        with urllib.request.urlopen(f"{process.url}/ready", timeout=5) as answer:
            found: dict[str, dict[str, bool]] = json.load(answer)
    except urllib.error.HTTPError as refusal:
        found = json.load(refusal)
    return [name for name, is_well in found["checks"].items() if not is_well]


def _behind(process: ProjectorProcess) -> list[str]:
    """The gauges of partitions that have something to apply for a while."""
    with urllib.request.urlopen(f"{process.url}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return [
        line
        for line in lines
        if line.startswith("projector_oldest_unapplied_seconds{") and not line.endswith(" 0.0")
    ]


async def _uses_applied(world: World, records: int) -> bool:
    return await world.uses_applied() >= records


def _oldest_seconds(world: World, partition: int) -> float:
    name = f'projector_oldest_unapplied_seconds{{partition="{partition}",projection="keys"}} '
    lines = world.metrics.text().decode().splitlines()
    return next((float(line.removeprefix(name)) for line in lines if line.startswith(name)), 0.0)
