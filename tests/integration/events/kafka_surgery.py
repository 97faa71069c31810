"""What an operator, or an accident, can do to topics."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from aiokafka import TopicPartition  # type: ignore[import-untyped]
from aiokafka.admin import NewPartitions, RecordsToDelete  # type: ignore[import-untyped]
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType  # type: ignore[import-untyped]

from events.kafka_clients import administration
from events.kafka_cluster import describe, find
from events.log import Position
from events.settings import KafkaSettings
from events.topic_admin import apply_topics
from events.topics import Topic, Topics
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


async def make_anew(kafka: KafkaSettings, topics: Topics, topic: Topic) -> None:
    """Delete a topic with all that it holds, and create it again."""
    await delete(kafka, topic)
    await apply_topics(kafka, topics)


@contextmanager
def lost_tails(kafka: EmbeddedKafka, data_dir: Path, ends: Mapping[tuple[str, int], int]) -> Iterator[None]:
    """Kill the broker and cut partitions to these end offsets, as a loss of power can; it runs in the end.

    Meanwhile it is down. `data_dir` is what the broker was given. Each record must be a batch of its own.
    """
    kafka.kill()
    kafka.wait_stopped(10)
    for (topic, partition), end in ends.items():
        folder = data_dir / "kafka" / "data" / f"{topic}-{partition}"
        for index in (*folder.glob("*.index"), *folder.glob("*.timeindex")):
            index.unlink()
        (segment,) = folder.glob("*.log")
        os.truncate(segment, _bytes_before(segment.read_bytes(), end))
    try:
        yield
    finally:
        kafka.start()
        kafka.wait_ready()


def _bytes_before(segment: bytes, end: int) -> int:
    """How many bytes of a segment are batches that begin before the offset."""
    at = 0
    while at + 12 <= len(segment):
        first_offset, length = struct.unpack_from(">qi", segment, at)
        if length <= 0 or first_offset >= end:
            break
        at += 12 + length
    return at
