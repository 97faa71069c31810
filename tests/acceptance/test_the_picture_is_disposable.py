"""Kafka is the only source of truth: what Postgres holds can be dropped, or be away, and nothing is lost."""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg

from tests.acceptance.client import ApiClient
from tests.acceptance.stack import Stack
from tests.acceptance.the_log import postgres_agrees

TABLES: dict[LiteralString, LiteralString] = {
    "projector.lineage": "lineage_id",
    "projector.key": "lineage_id, position",
    "projector.key_event": "partition, record_offset",
    "projector.positions": "topic, partition",
}
NOWHERE = "postgresql://postgres@127.0.0.1:1/nowhere"


def test_a_dropped_schema_is_filled_with_the_same_rows(stack: Stack) -> None:
    projector, node = stack.projector(), stack.api()
    live_a_little(node.client)
    postgres_agrees(stack)
    before = rows(stack)
    assert all(before.values())
    projector.stop()
    with psycopg.connect(stack.database_url) as connection:
        connection.execute("DROP SCHEMA projector CASCADE")
    assert node.client.list().status_code == 503

    projector.start()
    projector.wait_ready()
    postgres_agrees(stack)
    assert rows(stack) == before
    assert node.client.list().status_code == 200


def test_an_api_without_postgres_replays_the_log(stack: Stack) -> None:
    first = stack.api()
    alive, dead = live_a_little(first.client)
    second = stack.api(DATABASE_URL=NOWHERE)
    assert [second.client.accepts(key) for key in alive] == [True] * len(alive)
    assert [second.client.accepts(key) for key in dead] == [False] * len(dead)
    assert second.client.accepts(second.client.new_key().api_key)


def live_a_little(client: ApiClient) -> tuple[list[str], list[str]]:
    """Keys that pass afterwards, and keys that don't."""
    alive, dead = [], []
    for _ in range(5):
        kept, rotated, graced, revoked = (client.new_key(scopes=["predict"]) for _ in range(4))
        new = client.rotated(rotated.key_id)
        newer = client.rotated(graced.key_id, grace_period_hours=1)
        client.revoke(revoked.key_id)
        alive += [kept.api_key, new.api_key, graced.api_key, newer.api_key]
        dead += [rotated.api_key, revoked.api_key]
    return alive, dead


def rows(stack: Stack) -> dict[str, list[Any]]:
    with psycopg.connect(stack.database_url) as connection:
        return {
            table: connection.execute(f"SELECT * FROM {table} ORDER BY {order}").fetchall()
            for table, order in TABLES.items()
        }
