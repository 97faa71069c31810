"""A world of one's own for every test: fresh topics, a fresh database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from events.settings import KafkaSettings
from events.topics import Topics
from tests.integration.projector.windows_world import WindowsWorld
from tests.integration.projector.world import World


@pytest.fixture
def world(
    kafka_settings: KafkaSettings, topics: Topics, database_url: str, tmp_path: Path
) -> Iterator[World]:
    world = World(kafka_settings, topics, database_url, tmp_path)
    yield world
    world.kill_all()


@pytest.fixture
def windows_world(
    kafka_settings: KafkaSettings, topics: Topics, database_url: str, tmp_path: Path
) -> Iterator[WindowsWorld]:
    world = WindowsWorld(kafka_settings, topics, database_url, tmp_path)
    yield world
    world.kill_all()
