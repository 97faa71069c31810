"""A broker to pause and kill, with fresh topics on it; and one that is not there."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator

import pytest

from events.settings import KafkaSettings
from events.topic_admin import apply_topics
from events.topics import Topics
from services.local.kafka import EmbeddedKafka
from tests.integration.events.kafka_surgery import delete


@pytest.fixture
def shaken_settings(shaken_kafka: EmbeddedKafka) -> KafkaSettings:
    return KafkaSettings.from_environment({"KAFKA_BOOTSTRAP_SERVERS": shaken_kafka.bootstrap_servers})


@pytest.fixture
def shaken_topics(shaken_settings: KafkaSettings) -> Iterator[Topics]:
    topics = Topics.from_environment({"KAFKA_TOPIC_PREFIX": f"test-{uuid.uuid4().hex[:12]}."})
    asyncio.run(apply_topics(shaken_settings, topics))
    yield topics
    asyncio.run(delete(shaken_settings, *topics.all()))


@pytest.fixture
def nowhere() -> KafkaSettings:
    """An address where nobody listens."""
    return KafkaSettings.from_environment({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"})
