"""Transactions of foreign producers: what is aborted never counts, what hangs is told and ended."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from contextlib import AsyncExitStack
from functools import partial

import pytest
from aiokafka.partitioner import murmur2  # type: ignore[import-untyped]

from events.kafka_cluster import high_watermarks, partition_ends
from events.keys import KeyCreated
from events.topics import PARTITIONS
from events.usage import KeyUsed
from tests.builders import a_key_created, some_usage
from tests.integration.projector.world import ProjectorProcess, World, eventually
from tests.transactions import foreign_producer

pytestmark = pytest.mark.anyio


def uses(key: KeyCreated, count: int) -> list[KeyUsed]:
    return [some_usage(key_id=key.subject) for _ in range(count)]


def partition_of(key: KeyCreated) -> int:
    return int(murmur2(key.subject.encode()) & 0x7FFFFFFF) % PARTITIONS


async def requests(world: World) -> int:
    return int(await world.value("SELECT coalesce(sum(requests), 0) FROM projector.usage_hour"))


async def test_aborted_use_never_counts_and_is_passed(world: World) -> None:
    """Live and in a rebuild; the last records of the log are aborted ones."""
    keys = [a_key_created() for _ in range(4)]
    await world.append(keys)
    process = world.projector()
    async with foreign_producer(world.kafka, world.topics.usage, f"{world.topics.prefix}foreign") as foreign:
        for key in keys:
            await foreign.begin(uses(key, 3))
            await foreign.commit()
            await world.append_usage(uses(key, 2))
            await foreign.begin(uses(key, 50))
            await foreign.abort()
    await everything_passed(world)
    assert await requests(world) == 4 * 5
    process.kill()
    await world.execute("DROP SCHEMA projector CASCADE")
    world.projector()
    await everything_passed(world)
    assert await requests(world) == 4 * 5


async def test_an_open_transaction_holds_up_its_partition_alone_and_is_told(world: World) -> None:
    """The sums of others go on. It is ended by its producer, started again; what it held up counts then."""
    held, other = a_key_created(), a_key_created()
    while partition_of(held) == partition_of(other):
        other = a_key_created()
    await world.append([held, other])
    process = world.projector(LONGEST_TRANSACTION_SECONDS="0.5")
    transactional_id = f"{world.topics.prefix}hanging"
    async with AsyncExitStack() as left_open:
        hanging = await left_open.enter_async_context(
            foreign_producer(world.kafka, world.topics.usage, transactional_id)
        )
        await hanging.begin(uses(held, 5))
        await world.append_usage([*uses(held, 2), *uses(other, 3)])
        await eventually(lambda: is_held_up(process), "a transaction that is told")
        await eventually(partial(has_counted, world, 3), "the uses of the other key")
        assert process.metric("projector_held_up_records") == 7
        assert process.metric("projector_held_up_seconds") >= 0.5
        assert process.metric("projector_lag_records") == 0
        assert (await world.verified()).problems == []
        assert process.says("is held up by a transaction that is open for")
        async with foreign_producer(world.kafka, world.topics.usage, transactional_id):
            pass
        await everything_passed(world)
    assert await requests(world) == 2 + 3
    await eventually(lambda: not is_held_up(process), "readiness")
    assert process.metric("projector_held_up_records") == 0
    assert process.says("is not held up any more")


async def has_counted(world: World, count: int) -> bool:
    return await requests(world) == count


async def everything_passed(world: World) -> None:
    """Wait until Postgres has passed all that was ever appended; then compare it with the log."""

    async def passed() -> bool:
        ends = await high_watermarks(world.kafka, world.topics.usage)
        assert await partition_ends(world.kafka, world.topics.usage) == ends
        return await world.uses_applied() == sum(ends.values())

    await eventually(passed, "aborted records and markers to be passed")
    await world.uses_settled(await world.uses_applied())


def is_held_up(process: ProjectorProcess) -> bool:
    """What /ready says of transactions."""
    try:
        with urllib.request.urlopen(f"{process.url}/ready", timeout=5) as answer:
            checks = json.load(answer)["checks"]
    except urllib.error.HTTPError as refusal:
        checks = json.load(refusal)["checks"]
    return not checks["transactions"]
