"""A broker that asks who is there lets the Faust app in, with the settings that every client has."""

from __future__ import annotations

from pathlib import Path

import pytest

from events.topic_admin import apply_topics
from events.topics import Topics
from tests.builders import fresh_id
from tests.conftest import IN_CONTAINERS
from tests.integration.events.test_credentials import PASSWORD, GuardedKafka, settings_of
from tests.integration.projector.windows_world import WindowsWorld, a_count
from tests.integration.projector.world import eventually

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(IN_CONTAINERS, reason="the broker's files are not on this disk"),
]


async def test_the_right_password_lets_windows_be_counted(database_url: str, tmp_path: Path) -> None:
    with GuardedKafka(tmp_path) as kafka:
        settings, topics = settings_of(kafka, PASSWORD), Topics.from_environment({})
        await apply_topics(settings, topics)
        world, counters = WindowsWorld(settings, topics, database_url, tmp_path), [a_count(fresh_id(), 5)]
        await world.make_schema()
        await world.count(counters)
        world.windows(
            KAFKA_SECURITY_PROTOCOL="SASL_PLAINTEXT",
            KAFKA_SASL_MECHANISM="PLAIN",
            KAFKA_SASL_USERNAME="hokusai",
            KAFKA_SASL_PASSWORD=PASSWORD,
        )
        try:
            await eventually(lambda: world.has(counters), "the count")
        finally:
            world.kill_all()
