"""A topic is restored from a copy as docs/operations.md says, word for word, and counts what it counted."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]
from aiokafka.admin import NewTopic  # type: ignore[import-untyped]

from events.codec import encode
from events.errors import TopicMismatch
from events.kafka_clients import administration, running
from events.kafka_cluster import wait_usable
from events.kafka_restore import restore_topic
from events.log import Record
from events.topics import Topic
from tests.builders import a_key_created, some_usage
from tests.integration.events.kafka_surgery import configure, delete, make_anew
from tests.integration.projector.commands import documented, hokusai_auth
from tests.integration.projector.world import World, eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

USES = 30
LONG_AGO = datetime.now(UTC) - timedelta(days=60)


async def test_a_topic_is_restored_word_for_word(world: World) -> None:
    """Copied back by a plain producer every use would be too old."""
    usage = world.topics.usage
    await uses_of_long_ago(world)
    process = world.projector(LOG_CHECK_SECONDS="0.5")
    await eventually(lambda: has_counted(world, USES), f"{USES} uses counted")
    copy = await copied(world, usage, usage.partitions)
    process.stop()
    await make_anew(world.kafka, world.topics, usage)
    process.start()
    await eventually(lambda: process.says("has lost records"), "it to notice")
    refused = await partitions_refused(world)

    process.stop()
    deletion, restore, restored, verify = documented("A topic is restored from a copy")
    assert deletion == (
        "kafka-topics.sh --bootstrap-server $KAFKA_BOOTSTRAP_SERVERS --delete --topic keys.usage"
    )
    await delete(world.kafka, usage)
    names = {"copy.keys.usage": copy.name, "keys.usage": usage.name}
    said = await run_documented(world, restore, names)
    assert said == f"{usage.name}: {USES} records\n"
    for partition in refused:
        await run_documented(world, restored, {**names, "3": str(partition)})
    process.start()
    await eventually(process.is_ready, "it to go on")
    assert await has_counted(world, USES)
    assert "row for row" in await run_documented(world, verify, names)
    assert await world.read(world.topics.usage_dead_letters) == []


async def test_another_number_of_partitions_moves_records_to_that_of_their_key(world: World) -> None:
    usage = world.topics.usage
    await uses_of_long_ago(world)
    copy = await copied(world, usage, 5)
    before = await world.read(usage)
    await delete(world.kafka, usage)
    restored = await restore_topic(world.kafka, world.topics, usage, copy.name, world.kafka)
    after = await world.read(usage)
    assert restored.records == USES
    assert of_each_key(after) == of_each_key(before)
    assert {(one.key, one.partition) for one in after} == {(one.key, one.partition) for one in before}


async def test_a_topic_that_holds_records_is_left_alone(world: World) -> None:
    await uses_of_long_ago(world)
    copy = await copied(world, world.topics.usage, world.topics.usage.partitions)
    with pytest.raises(TopicMismatch, match="holds records: run `kafka-topics"):
        await restore_topic(world.kafka, world.topics, world.topics.usage, copy.name, world.kafka)
    assert len(await world.read(world.topics.usage)) == USES


async def test_a_copy_that_is_not_there_is_told(world: World) -> None:
    with pytest.raises(TopicMismatch, match="there is no topic nowhere"):
        await restore_topic(world.kafka, world.topics, world.topics.usage, "nowhere", world.kafka)


async def uses_of_long_ago(world: World) -> None:
    """Uses of three keys, appended when they happened."""
    usage = world.topics.usage
    keys = [a_key_created(time=LONG_AGO - timedelta(days=1)) for _ in range(3)]
    await world.append(keys)
    await configure(world.kafka, usage, message_timestamp_type="CreateTime")
    async with running(producer := AIOKafkaProducer(**world.kafka.client_options()), world.kafka):
        for number in range(USES):
            use = some_usage(key_id=keys[number % 3].subject, time=LONG_AGO + timedelta(seconds=number))
            key, value = use.data.key_id.encode(), encode(use)
            at = int(use.time.timestamp() * 1000)
            await producer.send_and_wait(usage.name, value, key, timestamp_ms=at)
    await configure(world.kafka, usage, message_timestamp_type="LogAppendTime")


async def copied(world: World, topic: Topic, partitions: int) -> Topic:
    """A mirror of the topic, with the times of its records."""
    copy = Topic(f"{world.topics.prefix}copy-{topic.name}", topic.record_key, {}, partitions)
    async with administration(world.kafka) as admin:
        await admin.create_topics([NewTopic(copy.name, partitions, 1)])
    await wait_usable(world.kafka, [copy])
    async with running(producer := AIOKafkaProducer(**world.kafka.client_options()), world.kafka):
        for one in sorted(await world.read(topic), key=lambda record: record.timestamp):
            where = one.partition if partitions == topic.partitions else None
            await producer.send_and_wait(
                copy.name, one.value, one.key, partition=where, timestamp_ms=one.timestamp
            )
    return copy


async def has_counted(world: World, uses: int) -> bool:
    if await world.value("SELECT to_regclass('projector.usage_hour')") is None:
        return False
    return bool(await world.value("SELECT sum(requests) FROM projector.usage_hour") == uses)


async def partitions_refused(world: World) -> Sequence[int]:
    found = await world.value("SELECT array_agg(partition ORDER BY partition) FROM projector.log_refusal")
    assert found
    return list(found)


async def run_documented(world: World, command: str, names: dict[str, str]) -> str:
    """The command of the docs, with the names of this test."""
    program, *arguments = shlex.split(command)
    assert program == "hokusai-auth"
    if arguments == ["audit", "verify"]:
        arguments += ["--only", "projector"]  # nobody runs billing here
    return await hokusai_auth(world, *(names.get(argument, argument) for argument in arguments))


def of_each_key(records: Sequence[Record]) -> dict[bytes | None, list[tuple[int, bytes | None]]]:
    found: dict[bytes | None, list[tuple[int, bytes | None]]] = {}
    for one in records:
        found.setdefault(one.key, []).append((one.timestamp, one.value))
    return found
