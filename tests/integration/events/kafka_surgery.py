"""What an operator, or an accident, can do to topics."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from aiokafka import TopicPartition  # type: ignore[import-untyped]
from aiokafka.admin import NewPartitions, RecordsToDelete  # type: ignore[import-untyped]
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType  # type: ignore[import-untyped]

from events.kafka_clients import administration
from events.kafka_cluster import describe, find
from events.log import Position
from events.settings import KafkaSettings
from events.topics import Topic
from services.local.kafka import EmbeddedKafka


async def configure(kafka: KafkaSettings, topic: Topic, **changes: str) -> None:
    """Change the configuration of a topic (`retention_ms="1"`) and wait until it can be seen."""
    changed = {name.replace("_", "."): value for name, value in changes.items()}
    # This request replaces everything that was ever set on the topic.
    whole = {**topic.configuration, **changed}
    async with administration(kafka) as admin:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name, whole)])
    await _seen(kafka, Topic(topic.name, topic.record_key, changed), changed)


async def delete_before(kafka: KafkaSettings, place: Position) -> None:
    """Delete the records of a partition that lie before this one."""
    partition = TopicPartition(place.topic, place.partition)
    async with administration(kafka) as admin:
        await admin.delete_records({partition: RecordsToDelete(before_offset=place.offset)})


async def add_a_partition(kafka: KafkaSettings, topic: Topic) -> None:
    """Give a topic one partition more than it was born with."""
    async with administration(kafka) as admin:
        await admin.create_partitions({topic.name: NewPartitions(topic.partitions + 1)})
    async with asyncio.timeout(10):
        while (found := await find(kafka, topic)) is None or found.partitions == topic.partitions:
            await asyncio.sleep(0.02)


async def delete(kafka: KafkaSettings, *topics: Topic) -> None:
    """Delete topics and wait until they are gone."""
    async with administration(kafka) as admin:
        await admin.delete_topics([topic.name for topic in topics])
        async with asyncio.timeout(10):
            while (await describe(admin, topics)).topics:
                await asyncio.sleep(0.02)


async def _seen(kafka: KafkaSettings, topic: Topic, configuration: dict[str, str]) -> None:
    async with asyncio.timeout(10):
        while (found := await find(kafka, topic)) is None or found.configuration != configuration:
            await asyncio.sleep(0.02)


@contextmanager
def paused(kafka: EmbeddedKafka) -> Iterator[None]:
    """A broker that is silent meanwhile."""
    kafka.pause()
    try:
        yield
    finally:
        kafka.resume()
