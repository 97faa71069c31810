"""A stack that nobody has used, on the servers that tests share."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from services.local.kafka import EmbeddedKafka
from services.local.postgres import EmbeddedPostgres
from tests.acceptance.stack import Stack
from tests.acceptance.the_log import create_topics, delete_topics


@contextmanager
def fresh_stack(kafka: EmbeddedKafka, postgres: EmbeddedPostgres, folder: Path) -> Iterator[Stack]:
    """Empty topics and an empty database; runs nothing yet. Nothing of it is left afterwards."""
    with (
        fresh_database(postgres.database_url) as database_url,
        Stack(folder, kafka.bootstrap_servers, database_url) as stack,
    ):
        create_topics(stack)
        yield stack
        stack.kill()
        delete_topics(stack)


@contextmanager
def fresh_database(database_url: str) -> Iterator[str]:
    """A database on that server, for as long as it is needed."""
    name = f"acceptance_{uuid.uuid4().hex[:12]}"
    _order(database_url, "CREATE DATABASE {}", name)
    try:
        yield urlsplit(database_url)._replace(path=f"/{name}").geturl()
    finally:
        _order(database_url, "DROP DATABASE {} WITH (FORCE)", name)


def _order(database_url: str, order: LiteralString, name: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(sql.SQL(order).format(sql.Identifier(name)))
