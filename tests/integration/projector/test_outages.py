"""What it needs comes late, goes away and comes back: it waits, says for what, and catches up."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from events.settings import KafkaSettings
from events.topic_admin import apply_topics
from events.topics import Topics
from services.local.kafka import EmbeddedKafka
from services.local.postgres import EmbeddedPostgres
from tests.integration.projector.world import World, eventually, lives

pytestmark = pytest.mark.anyio


async def test_started_before_postgres_and_kafka_it_waits_for_each_and_says_so(
    own_kafka: EmbeddedKafka, own_postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    kafka = KafkaSettings(KAFKA_BOOTSTRAP_SERVERS=own_kafka.bootstrap_servers)
    world = World(kafka, Topics(), own_postgres.database_url, tmp_path)
    await apply_topics(kafka, world.topics)
    await world.append(lives(30))
    own_kafka.stop()
    own_postgres.stop()
    process = world.projector()
    try:
        await eventually(lambda: process.says("waiting for Postgres at"), "a word about Postgres")
        own_postgres.start()
        await eventually(lambda: process.says("waiting for Kafka at"), "a word about Kafka")
        own_kafka.start()
        await eventually(process.is_ready, "it to be ready")
        await world.caught_up(30)
    finally:
        world.kill_all()


async def test_postgres_stopped_and_back_it_catches_up_by_itself(
    kafka_settings: KafkaSettings, topics: Topics, own_postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    world = World(kafka_settings, topics, own_postgres.database_url, tmp_path)
    process = world.projector()
    try:
        await eventually(process.is_ready, "it to be ready")
        await world.append(lives(30))
        await world.caught_up(30)
        own_postgres.stop()
        await world.append(lives(30))
        await eventually(lambda: process.says("waiting for Postgres, to apply"), "a word about Postgres")
        await eventually(lambda: not process.is_ready(), "it to be not ready")
        own_postgres.start()
        await asyncio.to_thread(own_postgres.wait_ready)
        await world.caught_up(60)
        assert process.is_running
    finally:
        world.kill_all()
