"""A record that the disk has spoiled."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from events.errors import LogUnavailable
from events.kafka_log import KafkaEventLog, KafkaLogReader
from events.log import Position
from events.settings import KafkaSettings
from events.topic_admin import apply_topics
from events.topics import Topics
from services.local.kafka import EmbeddedKafka
from tests.conftest import IN_CONTAINERS

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(IN_CONTAINERS, reason="the broker's files are not on this disk"),
]


async def test_a_spoiled_record_and_its_neighbours_are_never_skipped(
    own_kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    """aiokafka drops what it has unpacked of a fetch when it meets a bad checksum, and goes on after it."""
    kafka = KafkaSettings.from_environment({"KAFKA_BOOTSTRAP_SERVERS": own_kafka.bootstrap_servers})
    topics = Topics.from_environment({})
    await apply_topics(kafka, topics)
    async with KafkaEventLog(kafka) as log:
        places = [await log.append(topics.lifecycle.name, b"key", bytes(100)) for _ in range(5)]
    own_kafka.stop()
    spoil(tmp_path / "kafka" / "data", places[3])
    own_kafka.start()
    own_kafka.wait_ready()
    async with KafkaLogReader(kafka, topics.lifecycle) as reader:
        await reader.begin({})
        returned = 0
        for _ in range(5):
            with pytest.raises(LogUnavailable, match="Invalid CRC"):
                async with asyncio.timeout(20):
                    while True:
                        returned += len(await reader.read())
            assert sum(reader.positions().values()) == returned <= 3


def spoil(data: Path, place: Position) -> None:
    """Turn one bit of the record; all records of the partition are equally long."""
    [segment] = (data / f"{place.topic}-{place.partition}").glob("*.log")
    content = bytearray(segment.read_bytes())
    content[len(content) * (place.offset + 1) // 5 - 10] ^= 1
    segment.write_bytes(content)
