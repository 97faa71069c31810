"""Single records by their coordinates, and None where there is none."""

from __future__ import annotations

import pytest

from events.errors import LogUnavailable
from events.kafka_log import KafkaEventLog
from events.kafka_lookup import KafkaLookup
from events.log import Position
from events.settings import KafkaSettings
from events.topics import Topics
from tests.integration.events.kafka_surgery import delete_before

pytestmark = pytest.mark.anyio


async def test_records_are_found_in_any_order_with_their_headers(
    kafka_settings: KafkaSettings, topics: Topics
) -> None:
    async with KafkaEventLog(kafka_settings) as log:
        places = [
            await log.append(topic.name, b"key", text, [("n", text)], partition=number % 3)
            for number, text in enumerate(b"%d" % number for number in range(12))
            for topic in (topics.usage, topics.usage_dead_letters)
        ]
    assert {place.partition for place in places} == {0, 1, 2}
    async with KafkaLookup(kafka_settings) as lookup:
        for index, place in reversed(list(enumerate(places))):
            record = await lookup.find(place)
            assert record is not None
            assert (record.offset, record.value) == (place.offset, b"%d" % (index // 2))
            assert tuple(record.headers) == (("n", b"%d" % (index // 2)),)
        end = await log_end(lookup, places[-1])
        assert await lookup.find(end) is None


async def log_end(lookup: KafkaLookup, place: Position) -> Position:
    while await lookup.find(place) is not None:
        place = Position(place.topic, place.partition, place.offset + 1)
    return place


async def test_what_the_log_has_forgotten_is_not_found(kafka_settings: KafkaSettings, topics: Topics) -> None:
    async with KafkaEventLog(kafka_settings) as log:
        first = await log.append(topics.usage.name, b"key", b"1")
        second = await log.append(topics.usage.name, b"key", b"2")
    await delete_before(kafka_settings, second)
    async with KafkaLookup(kafka_settings) as lookup:
        assert await lookup.find(first) is None
        found = await lookup.find(second)
        assert found is not None
        assert found.value == b"2"


async def test_a_log_that_is_away_is_told() -> None:
    nowhere = KafkaSettings.from_environment({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"})
    async with KafkaLookup(nowhere) as lookup:
        with pytest.raises(LogUnavailable):
            await lookup.find(Position("keys.usage", 0, 0))
