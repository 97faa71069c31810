"""Who reads a topic that is read committed sees what was committed, up to the first open transaction."""

from __future__ import annotations

import pytest

from events.kafka_cluster import end_offsets, high_watermarks, partition_ends
from events.kafka_log import KafkaLogReader
from events.log_reading import read_through
from events.settings import KafkaSettings
from events.topics import Topic, Topics
from events.usage import KeyUsed
from tests.builders import fresh_id, some_usage
from tests.log_records import everything
from tests.transactions import foreign_producer

pytestmark = pytest.mark.anyio


def some_uses(count: int) -> list[KeyUsed]:
    """Of one key, and so in one partition."""
    key_id = fresh_id()
    return [some_usage(key_id=key_id) for _ in range(count)]


async def test_use_is_read_up_to_the_open_transaction_and_without_aborted_ones(
    kafka_settings: KafkaSettings, topics: Topics
) -> None:
    """The last records that a reader may have are aborted: it gets past them all the same."""
    topic, uses = topics.usage, some_uses(9)
    async with foreign_producer(kafka_settings, topic, f"{topics.prefix}foreign") as foreign:
        await foreign.begin(uses[:2])
        await foreign.commit()  # offsets 0 to 2, with the marker
        await foreign.begin(uses[2:5])
        await foreign.abort()  # 3 to 6
        async with KafkaLogReader(kafka_settings, topic) as reader:
            await foreign.begin(uses[5:])
            ends = await reader.end_offsets()
            read = [record async for records in read_through(reader, ends) for record in records]
            assert [record.offset for record in read] == [0, 1]
            assert sum(ends.values()) == sum(reader.positions().values()) == 7
            assert ends == await partition_ends(kafka_settings, topic)
            assert sum((await high_watermarks(kafka_settings, topic)).values()) == 11
            await foreign.commit()
        assert [record.offset for record in await everything(kafka_settings, topic)] == [0, 1, 7, 8, 9, 10]
    assert await partition_ends(kafka_settings, topic) == await high_watermarks(kafka_settings, topic)


async def test_keys_are_read_at_once_whatever_transaction_is_open(
    kafka_settings: KafkaSettings, topics: Topics
) -> None:
    topic: Topic = topics.lifecycle
    async with foreign_producer(kafka_settings, topic, f"{topics.prefix}foreign") as foreign:
        await foreign.begin(some_uses(2))
        assert len(await everything(kafka_settings, topic)) == 2
        ends = await end_offsets(kafka_settings, [topic, topics.usage])
        assert sum(ends.values()) == 2
        await foreign.abort()
