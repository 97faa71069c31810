"""`keys.peppers` in Kafka: declared once, read by every node, and done without where it does not exist."""

from __future__ import annotations

import logging

import pytest

from events.errors import LogUnavailable
from events.kafka_log import KafkaEventLog, KafkaLogReader
from events.log import EventLog
from events.log_identity import check_log
from events.settings import KafkaSettings
from events.topic_admin import apply_topics, compare_topics
from events.topics import Topics
from services.api.validation.known_peppers import KnownPeppers
from tests.integration.events.kafka_surgery import delete

pytestmark = pytest.mark.anyio


def a_node(kafka: KafkaSettings, topics: Topics, log: EventLog, *own: str) -> KnownPeppers:
    return KnownPeppers(
        own, lambda: KafkaLogReader(kafka, topics.peppers), log, topics.peppers.name, "urn:hokusai:test"
    )


async def test_nodes_know_each_others_peppers(kafka_settings: KafkaSettings, topics: Topics) -> None:
    async with KafkaEventLog(kafka_settings) as log:
        one, two = (a_node(kafka_settings, topics, log, own) for own in ("2025.b", "2026.a"))
        for node in (one, two, one):
            await node.start()
        newer = a_node(kafka_settings, topics, log, "2027.n", "2026.a")
        await newer.start()

        for pepper_id in ("2025.b", "2026.a", "2027.n"):
            for node in (one, two, newer):
                assert await node.include(pepper_id)
        assert not await one.include("forged")
        async with KafkaLogReader(kafka_settings, topics.peppers) as reader:
            assert sum((await reader.end_offsets()).values()) == 3, "each is declared once"


async def test_a_deployment_that_is_older_than_the_topic_goes_on(
    kafka_settings: KafkaSettings, topics: Topics, caplog: pytest.LogCaptureFixture
) -> None:
    await delete(kafka_settings, topics.peppers)

    await check_log(kafka_settings, topics, None)
    (difference,) = await compare_topics(kafka_settings, topics)
    assert difference == f"{topics.peppers.name} is missing: run `hokusai-auth topics apply`"
    async with KafkaEventLog(kafka_settings) as log:
        node = a_node(kafka_settings, topics, log, "2026.a")
        with caplog.at_level(logging.ERROR):
            await node.start()
        assert "run `hokusai-auth topics apply`" in caplog.text
        assert await node.include("2026.a")
        assert not await node.include("2025.b")

        assert await apply_topics(kafka_settings, topics) == [topics.peppers.name]
        await node.start()
        other = a_node(kafka_settings, topics, log, "2027.n")
        await other.start()
        assert await other.include("2026.a")


async def test_a_kafka_that_is_away_is_waited_for(kafka_settings: KafkaSettings, topics: Topics) -> None:
    nowhere = KafkaSettings(KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    async with KafkaEventLog(kafka_settings) as log:
        with pytest.raises(LogUnavailable):
            await a_node(nowhere, topics, log, "2026.a").start()
