"""A leader that comes back is told, so that whoever has read the log compares it at once."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from events.kafka_leader_epochs import leader_epochs
from events.kafka_log import KafkaLogReader
from events.settings import KafkaSettings
from events.topics import Topics
from services.local.kafka import EmbeddedKafka

pytestmark = pytest.mark.anyio


async def test_every_partition_has_an_epoch(kafka_settings: KafkaSettings, topics: Topics) -> None:
    async with KafkaLogReader(kafka_settings, topics.usage) as reader:
        epochs = await leader_epochs(reader._consumer._client, topics.usage.name)
    assert epochs == dict.fromkeys(range(topics.usage.partitions), 0)


async def test_a_broker_that_was_killed_begins_new_epochs(
    shaken_kafka: EmbeddedKafka, shaken_settings: KafkaSettings, shaken_topics: Topics
) -> None:
    before = await _epochs(shaken_settings, shaken_topics)
    shaken_kafka.kill()
    shaken_kafka.wait_stopped(10)
    shaken_kafka.start()
    shaken_kafka.wait_ready()
    after = await _epochs(shaken_settings, shaken_topics)
    assert all(after[partition] > epoch for partition, epoch in before.items())


async def _epochs(kafka: KafkaSettings, topics: Topics) -> Mapping[int, int]:
    async with KafkaLogReader(kafka, topics.usage) as reader:
        await reader.end_offsets()  # every partition has a leader
        return await leader_epochs(reader._consumer._client, topics.usage.name)
