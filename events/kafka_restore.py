"""Fills a topic from a copy of it: every record in its partition, in its order, with the time of its append.

The broker would date records anew as they are appended, and use that is weeks old would be too old to count.
So the topic keeps the times of its writer while it is filled.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition  # type: ignore[import-untyped]
from aiokafka.admin import NewTopic  # type: ignore[import-untyped]
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType  # type: ignore[import-untyped]
from aiokafka.errors import for_code  # type: ignore[import-untyped]

from events.errors import TopicMismatch
from events.kafka_clients import REQUEST_TIMEOUT_MS, administration, log_unavailable, running
from events.kafka_cluster import end_offsets, find, wait_usable
from events.settings import KafkaSettings
from events.topics import Topic, Topics

DATES_OF_THE_WRITER = {"message.timestamp.type": "CreateTime"}
PATIENCE_SECONDS = 30.0
DELIVERIES_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Restored:
    """How many records were copied, and how many stand at another offset than in the copy."""

    records: int
    moved: int


async def restore_topic(
    kafka: KafkaSettings, topics: Topics, topic: Topic, copy: str, copy_kafka: KafkaSettings
) -> Restored:
    """Fill the topic, which is missing or empty, from the topic `copy`. Nobody may write to either meanwhile.

    Records go to the partition with the number of their own, or, where the copy has another number of
    partitions, to that of their key, in the order of their times. Raises `TopicMismatch` where the topic
    holds records or there is no such copy, and `LogUnavailable`: delete the topic then, and begin anew.
    """
    with log_unavailable(f"{topic.name} was not restored"):
        await _prepare(kafka, topics, topic)
        restored = await _copy(kafka, topic, copy, copy_kafka)
        await _configure(kafka, topic, topic.configuration)
    return restored


async def _prepare(kafka: KafkaSettings, topics: Topics, topic: Topic) -> None:
    if await find(kafka, topic) is None:
        new = NewTopic(
            topic.name,
            topic.partitions,
            topics.replication_factor,
            topic_configs={**topic.configuration, **DATES_OF_THE_WRITER},
        )
        async with administration(kafka) as admin:
            ((_, error_code, message),) = (await admin.create_topics([new])).topic_errors
        if error_code:
            raise for_code(error_code)(f"{topic.name}: {message}")
        await wait_usable(kafka, [topic])
    if any((await end_offsets(kafka, [topic])).values()):
        servers = kafka.bootstrap_servers
        raise TopicMismatch(
            [
                f"{topic.name} holds records: run `kafka-topics.sh --bootstrap-server {servers} --delete "
                f"--topic {topic.name}` first, if they are all in the copy"
            ]
        )
    await _configure(kafka, topic, {**topic.configuration, **DATES_OF_THE_WRITER})


async def _configure(kafka: KafkaSettings, topic: Topic, configuration: Mapping[str, str]) -> None:
    """Set all of it, and wait until it can be seen."""
    async with administration(kafka) as admin:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic.name, dict(configuration))
        await admin.alter_configs([resource])
    visible = {name: configuration[name] for name in topic.configuration}
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (found := await find(kafka, topic)) is None or found.configuration != visible:
            await asyncio.sleep(0.05)


async def _copy(kafka: KafkaSettings, topic: Topic, copy: str, copy_kafka: KafkaSettings) -> Restored:
    options = {"acks": "all", "enable_idempotence": True, "request_timeout_ms": REQUEST_TIMEOUT_MS}
    reader = AIOKafkaConsumer(
        **copy_kafka.client_options(), auto_offset_reset="none", request_timeout_ms=REQUEST_TIMEOUT_MS
    )
    records = moved = 0
    async with (
        running(reader, copy_kafka),
        running(producer := AIOKafkaProducer(**kafka.client_options(), **options), kafka),
    ):
        places = await _places(reader, copy)
        keeps_partitions = len(places) == topic.partitions
        under_way: deque[tuple[Any, asyncio.Future[Any]]] = deque()
        async for record in _in_order(reader, places):
            delivery = await producer.send(
                topic.name,
                record.value,
                record.key,
                partition=record.partition if keeps_partitions else None,
                timestamp_ms=record.timestamp,
                headers=list(record.headers),
            )
            under_way.append((record, delivery))
            while len(under_way) >= DELIVERIES_AT_ONCE:
                moved += await _is_moved(*under_way.popleft())
            records += 1
        for sent in under_way:
            moved += await _is_moved(*sent)
    return Restored(records, moved)


async def _places(reader: AIOKafkaConsumer, copy: str) -> list[TopicPartition]:
    await reader._client.set_topics([copy])
    partitions = reader.partitions_for_topic(copy)
    if not partitions:
        raise TopicMismatch([f"there is no topic {copy}"])
    return [TopicPartition(copy, partition) for partition in sorted(partitions)]


async def _in_order(reader: AIOKafkaConsumer, places: list[TopicPartition]) -> AsyncIterator[Any]:
    """Every record, in order within each partition, and by time between them."""
    reader.assign(places)
    for place in places:  # before anything is awaited, or the consumer looks for positions by itself
        reader.seek(place, 0)
    reader.pause(*places)
    firsts, ends = await reader.beginning_offsets(places), await reader.end_offsets(places)
    for place in places:
        reader.seek(place, firsts[place])
    reader.resume(*places)
    waiting: dict[TopicPartition, deque[Any]] = {place: deque() for place in places}
    heard_at = time.monotonic()
    while True:
        silent = [
            place for place in places if not waiting[place] and await reader.position(place) < ends[place]
        ]
        if silent:
            for place, fetched in (await reader.getmany(*silent, timeout_ms=1000)).items():
                waiting[place].extend(fetched)
                heard_at = time.monotonic()
            if time.monotonic() - heard_at > PATIENCE_SECONDS:
                raise TimeoutError
            continue
        heads = [records[0] for records in waiting.values() if records]
        if not heads:
            return
        first = min(heads, key=lambda record: (record.timestamp, record.partition))
        yield waiting[TopicPartition(first.topic, first.partition)].popleft()


async def _is_moved(record: Any, delivery: asyncio.Future[Any]) -> bool:
    stored = await delivery
    return bool((stored.partition, stored.offset) != (record.partition, record.offset))
