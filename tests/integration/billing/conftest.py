"""A world of one's own for every test: fresh topics, a fresh database."""

from __future__ import annotations

from pathlib import Path

import pytest

from events.settings import KafkaSettings
from events.topics import Topics
from tests.integration.billing.world import World


@pytest.fixture
def world(kafka_settings: KafkaSettings, topics: Topics, database_url: str, tmp_path: Path) -> World:
    return World(kafka_settings, topics, database_url, tmp_path)
