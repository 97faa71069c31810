"""A record that arrives spoiled, from a disk or over a wire."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.partitioner import DefaultPartitioner  # type: ignore[import-untyped]

from events.errors import LogUnavailable
from events.kafka_log import KafkaEventLog, KafkaLogReader
from events.log import Position
from events.settings import KafkaSettings
from events.topics import Topics
from services.local.kafka import EmbeddedKafka
from tests.conftest import IN_CONTAINERS

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(IN_CONTAINERS, reason="the broker's files are not on this disk"),
]


async def test_a_spoiled_record_makes_the_reader_skip_nothing_anywhere(
    kafka: EmbeddedKafka, kafka_settings: KafkaSettings, topics: Topics
) -> None:
    """aiokafka drops what it has taken from other partitions when it meets a bad checksum in one."""
    topic = topics.lifecycle
    partition_of, partitions = DefaultPartitioner(), list(range(topic.partitions))
    elsewhere = [
        key
        for key in (str(number).encode() for number in range(60))
        if partition_of(key, partitions, partitions) != partition_of(b"key", partitions, partitions)
    ]
    async with KafkaEventLog(kafka_settings) as log:
        places = [await log.append(topic.name, key, bytes(100)) for key in [b"key"] * 5 + elsewhere]
    async with KafkaLogReader(kafka_settings, topic) as reader:
        turn_a_bit(kafka, places[3])
        await reader.begin({})
        read: list[Position] = []
        for _ in range(3):
            with pytest.raises(LogUnavailable, match="Invalid CRC"):
                await read_until(reader, len(places), read)
        turn_a_bit(kafka, places[3])
        await read_until(reader, len(places), read)
    for partition in partitions:
        assert of(partition, read) == of(partition, places)


def turn_a_bit(kafka: EmbeddedKafka, place: Position) -> None:
    """Of the value of that one of five records; they are equally long."""
    folder = kafka.log_path.parents[1] / "kafka" / "data" / f"{place.topic}-{place.partition}"
    with (folder / "00000000000000000000.log").open("r+b") as segment:
        inside = segment.seek(0, 2) * (place.offset + 1) // 5 - 10
        segment.seek(inside)
        [byte] = segment.read(1)
        segment.seek(inside)
        segment.write(bytes([byte ^ 1]))


async def read_until(reader: KafkaLogReader, count: int, read: list[Position]) -> None:
    async with asyncio.timeout(20):
        while len(read) < count:
            read += [Position(one.topic, one.partition, one.offset) for one in await reader.read()]


def of(partition: int, places: list[Position]) -> list[Position]:
    return [place for place in places if place.partition == partition]
