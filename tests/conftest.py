"""A cleaned environment, and servers that start when the first test asks for them.

`TEST_BACKEND=testcontainers` uses containers instead of the embedded servers.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from events.kafka_clients import administration
from events.settings import KafkaSettings, Settings
from events.topic_admin import apply_topics
from events.topics import Topics
from services.local.kafka import EmbeddedKafka
from services.local.postgres import EmbeddedPostgres
from tests.containers import ContainerKafka, ContainerPostgres

IN_CONTAINERS = os.environ.get("TEST_BACKEND") == "testcontainers"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _variables_read_by(Settings):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka | ContainerKafka]:
    """The broker that tests share: leave it running. `topics` are a place of your own on it."""
    yield from _kafka(tmp_path_factory.mktemp("kafka"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres | ContainerPostgres]:
    """The server that tests share: leave it running. `database_url` is a place of your own on it."""
    yield from _postgres()


@pytest.fixture(scope="session")
def shaken_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka | ContainerKafka]:
    """A broker that tests share to pause, kill and restart: each leaves it running, at the same address."""
    yield from _kafka(tmp_path_factory.mktemp("shaken-kafka"))


@pytest.fixture(scope="session")
def shaken_postgres() -> Iterator[EmbeddedPostgres | ContainerPostgres]:
    """A server that tests share to kill and restart: each leaves it running, at the same address."""
    yield from _postgres()


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[EmbeddedKafka | ContainerKafka]:
    """A broker of the test's own, for what cannot be undone. Starting it takes seconds."""
    yield from _kafka(tmp_path)


@pytest.fixture
def own_postgres() -> Iterator[EmbeddedPostgres | ContainerPostgres]:
    """A server of the test's own, to kill, pause and restart. Starting it takes seconds."""
    yield from _postgres()


@pytest.fixture
def kafka_settings(kafka: EmbeddedKafka) -> KafkaSettings:
    return KafkaSettings.from_environment({"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers})


@pytest.fixture
def topics(kafka_settings: KafkaSettings) -> Iterator[Topics]:
    """All topics, empty, under a prefix that nobody else has."""
    # Not async, so that tests of every kind can use it.
    topics = Topics.from_environment({"KAFKA_TOPIC_PREFIX": f"test-{uuid.uuid4().hex[:12]}."})
    asyncio.run(apply_topics(kafka_settings, topics))
    yield topics
    asyncio.run(_delete(kafka_settings, topics))


@pytest.fixture
def database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database that nobody has used; dropped afterwards, whoever is still connected."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres.database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield urlsplit(postgres.database_url)._replace(path=f"/{name}").geturl()
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _kafka(folder: Path) -> Iterator[EmbeddedKafka | ContainerKafka]:
    with ContainerKafka() if IN_CONTAINERS else EmbeddedKafka(folder) as server:
        yield server


def _postgres() -> Iterator[EmbeddedPostgres | ContainerPostgres]:
    # Not below pytest's own folder: another run of pytest by root would close that to the server's user.
    with (
        tempfile.TemporaryDirectory(prefix="hokusai-test-") as folder,
        ContainerPostgres() if IN_CONTAINERS else EmbeddedPostgres(Path(folder)) as server,
    ):
        yield server


async def _delete(kafka: KafkaSettings, topics: Topics) -> None:
    async with administration(kafka) as admin:
        await admin.delete_topics([topic.name for topic in topics.all()])


def _variables_read_by(settings: type[Settings]) -> Iterator[str]:
    for field in settings.model_fields.values():
        if field.alias:
            yield field.alias
    for more in settings.__subclasses__():
        yield from _variables_read_by(more)
