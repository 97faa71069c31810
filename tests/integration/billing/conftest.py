"""A world of one's own for every test: fresh topics, a fresh database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from psycopg import AsyncConnection

from events.keeper.database import connect
from events.keeper.schema import prepare_schema
from events.settings import KafkaSettings
from events.topics import Topics
from services.billing.schema import billing_schema
from tests.integration.billing.world import World


@pytest.fixture
def world(kafka_settings: KafkaSettings, topics: Topics, database_url: str, tmp_path: Path) -> World:
    return World(kafka_settings, topics, database_url, tmp_path)


@pytest.fixture
async def connection(anyio_backend: str, database_url: str) -> AsyncIterator[AsyncConnection[Any]]:
    """To a schema `billing` in which nothing is written yet."""
    async with await connect(database_url, "billing") as opened:
        await prepare_schema(opened, billing_schema())
        yield opened
