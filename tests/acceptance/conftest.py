"""Stacks to test: one that all tests share that break nothing, and fresh ones for the others."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from services.local.kafka import EmbeddedKafka
from services.local.postgres import EmbeddedPostgres
from tests.acceptance.stack import ApiNode, Stack
from tests.acceptance.the_log import create_topics


@pytest.fixture(scope="session")
def shared_stack(
    kafka: EmbeddedKafka, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """Runs a projector. For tests that leave every process as it was."""
    folder = tmp_path_factory.mktemp("shared-stack")
    with fresh_database(postgres.database_url) as database_url:
        with Stack(folder, kafka.bootstrap_servers, database_url) as stack:
            create_topics(stack)
            stack.projector()
            yield stack


@pytest.fixture(scope="session")
def node(shared_stack: Stack) -> ApiNode:
    """A node of one worker on the shared stack."""
    return shared_stack.api()


@pytest.fixture(scope="session")
def other_node(shared_stack: Stack) -> ApiNode:
    """A second node of one worker on the shared stack."""
    return shared_stack.api()


@pytest.fixture(scope="session")
def node_of_four(shared_stack: Stack) -> ApiNode:
    """A node of four workers on the shared stack."""
    return shared_stack.api(workers=4)


@pytest.fixture
def stack(kafka: EmbeddedKafka, postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[Stack]:
    """Topics and a database that nobody has used; runs nothing yet."""
    with fresh_database(postgres.database_url) as database_url:
        with Stack(tmp_path, kafka.bootstrap_servers, database_url) as stack:
            create_topics(stack)
            yield stack


@contextmanager
def fresh_database(database_url: str) -> Iterator[str]:
    """A database on that server, for as long as it is needed."""
    name = f"acceptance_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield urlsplit(database_url)._replace(path=f"/{name}").geturl()
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
