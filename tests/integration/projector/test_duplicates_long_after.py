"""A use that is sent again weeks later counts neither live nor in a rebuild: the times of the log decide."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]

from events.codec import encode
from events.kafka_clients import running
from events.usage import KeyUsed
from tests.builders import a_key_created, some_usage
from tests.integration.events.kafka_surgery import configure
from tests.integration.projector.counting import TABLES
from tests.integration.projector.world import World, eventually

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)
KEYS = 5
USES = 40
#: A projector refuses a topic in which producers set the times, as this one does for moments.
UNWATCHED = {"LOG_CHECK_SECONDS": "600"}


async def test_duplicates_34_and_40_days_later_count_neither_live_nor_in_the_rebuild(world: World) -> None:
    """The log was written over 61 days; every clock that the processes have is at their end from the start.

    Each projector looks once, as it starts, for periods whose uses it may forget.
    """
    first_at = datetime.now(UTC) - 61 * DAY
    keys = [a_key_created() for _ in range(KEYS)]
    await world.append(keys)
    uses = [
        some_usage(key_id=keys[number % KEYS].subject, time=first_at - timedelta(minutes=number))
        for number in range(USES)
    ]
    await _append_at(first_at, world, uses)
    projector = world.projector(**UNWATCHED)
    await world.uses_settled(USES)
    counted, told = await _rows(world), await _told(world)
    assert await world.value("SELECT sum(requests)::int FROM projector.usage_hour") == USES

    projector.stop()
    projector = world.projector(**UNWATCHED)
    await eventually(projector.is_ready, "the second projector")
    await _append_at(first_at + 34 * DAY, world, uses)
    await world.uses_settled(2 * USES)
    await _append_at(first_at + 40 * DAY, world, uses)
    await world.uses_settled(3 * USES)
    await _append_at(first_at + 61 * DAY, world, uses)
    await world.uses_settled(4 * USES)
    projector.stop()
    projector = world.projector(**UNWATCHED)
    await eventually(lambda: _is_forgotten(world), "the first uses to be forgotten")
    await world.append_usage(uses)
    await world.uses_settled(5 * USES)
    assert await _rows(world) == counted
    assert len(await world.read(world.topics.usage_dead_letters)) == 3 * USES

    projector.stop()
    await world.execute("DROP SCHEMA projector CASCADE")
    world.projector(**UNWATCHED)
    await world.uses_settled(5 * USES)
    assert await _rows(world) == counted
    assert await _told(world) == told


async def _append_at(time: datetime, world: World, uses: Sequence[KeyUsed]) -> None:
    """Records that the broker has appended at that time, as far as anybody can tell."""
    producer = AIOKafkaProducer(**world.kafka.client_options())
    timestamp_ms = int(time.timestamp() * 1000)
    await configure(world.kafka, world.topics.usage, message_timestamp_type="CreateTime")
    async with running(producer, world.kafka):
        for use in uses:
            key = use.data.key_id.encode()
            await producer.send_and_wait(world.topics.usage.name, encode(use), key, timestamp_ms=timestamp_ms)
    await configure(world.kafka, world.topics.usage, message_timestamp_type="LogAppendTime")


async def _rows(world: World) -> dict[str, list[str]]:
    """Every row that tells how much was used."""
    return {
        table: await world.value(f"SELECT array_agg(t::text ORDER BY t::text) FROM projector.{table} t") or []
        for table in TABLES
        if table not in ("usage_identity", "usage_progress")
    }


async def _told(world: World) -> list[tuple[int, int, bytes | None]]:
    """Every record of usage.hourly."""
    records = await world.read(world.topics.hourly_usage)
    return sorted((record.partition, record.offset, record.value) for record in records)


async def _is_forgotten(world: World) -> bool:
    """Whether nobody knows any more that these were counted the first time."""
    return bool(await world.value("SELECT count(DISTINCT period) <= 1 FROM projector.usage_identity"))
