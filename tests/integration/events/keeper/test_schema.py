"""A schema that one service keeps: whose log it was, and from where on it counts as filled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from psycopg import AsyncConnection

from events.errors import WrongSchema
from events.keeper.database import connect
from events.keeper.schema import (
    Schema,
    confirm_schema,
    has_goals,
    known_log,
    prepare_schema,
    remember_log,
    set_goals,
)
from events.log_identity import LogIdentity

pytestmark = pytest.mark.anyio

SCHEMA = Schema("kept", 1, "CREATE TABLE row (value text NOT NULL);")
OUR_LOG = LogIdentity("our cluster", "keys.lifecycle")


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[AsyncConnection[Any]]:
    async with await connect(database_url, SCHEMA.name) as connection:
        await prepare_schema(connection, SCHEMA)
        yield connection


class TestMaking:
    async def test_the_same_version_is_left_alone(self, connection: AsyncConnection[Any]) -> None:
        await connection.execute("INSERT INTO row VALUES ('kept')")
        await prepare_schema(connection, SCHEMA)
        assert await _all(connection, "SELECT value FROM row") == [("kept",)]

    async def test_an_older_version_is_made_anew_and_still_knows_its_log(
        self, connection: AsyncConnection[Any]
    ) -> None:
        """Or a rebuild would accept any log, and mix the keys of two environments."""
        await remember_log(connection, OUR_LOG)
        await connection.execute("INSERT INTO row VALUES ('of another version')")
        await set_goals(connection, {("keys.lifecycle", 0): 7})
        await prepare_schema(connection, replace(SCHEMA, version=2))
        assert await _all(connection, "SELECT value FROM row") == []
        assert await known_log(connection) == OUR_LOG
        assert not await has_goals(connection)

    async def test_a_newer_version_is_left_alone_and_told_to_who_was_running(
        self, connection: AsyncConnection[Any]
    ) -> None:
        """In an upgrade, old processes run on for a while, and some are started again."""
        await prepare_schema(connection, replace(SCHEMA, version=2))
        await connection.execute("INSERT INTO row VALUES ('of the newer version')")
        with pytest.raises(WrongSchema, match="upgrade it"):
            await prepare_schema(connection, SCHEMA)
        with pytest.raises(WrongSchema, match="made anew in version 2"):
            await confirm_schema(connection, SCHEMA)
        assert await _all(connection, "SELECT value FROM row") == [("of the newer version",)]

    async def test_another_version_that_knew_no_log_knows_none(
        self, connection: AsyncConnection[Any]
    ) -> None:
        await prepare_schema(connection, replace(SCHEMA, version=2))
        assert await known_log(connection) is None

    async def test_a_version_that_did_not_know_environments_is_made_anew_and_knows_no_log(
        self, connection: AsyncConnection[Any]
    ) -> None:
        await remember_log(connection, OUR_LOG)
        await connection.execute("DROP VIEW identity; ALTER TABLE log_identity DROP COLUMN lifecycle_topic")
        await prepare_schema(connection, replace(SCHEMA, version=2))
        assert await known_log(connection) is None

    async def test_whose_log_it_is_is_settled_once(self, connection: AsyncConnection[Any]) -> None:
        await remember_log(connection, OUR_LOG)
        await remember_log(connection, LogIdentity("another cluster", "staging.keys.lifecycle"))
        assert await known_log(connection) == OUR_LOG
        assert await _all(connection, "SELECT * FROM identity") == [OUR_LOG]


class TestFilling:
    async def test_nothing_is_filled_before_the_goals_are_known(
        self, connection: AsyncConnection[Any]
    ) -> None:
        await _reach(connection, "usage", 0, 5)
        assert await _filled(connection) == {}
        assert not await has_goals(connection)

    async def test_a_topic_is_filled_once_each_of_its_partitions_has_passed_its_goal(
        self, connection: AsyncConnection[Any]
    ) -> None:
        await set_goals(connection, {("usage", 0): 5, ("usage", 1): 3, ("usage", 2): 0, ("keys", 0): 1})
        assert await has_goals(connection)
        assert await _filled(connection) == {"usage": False, "keys": False}
        await _reach(connection, "usage", 0, 9)
        await _reach(connection, "usage", 1, 2)
        assert await _filled(connection) == {"usage": False, "keys": False}
        await _reach(connection, "usage", 1, 3)
        assert await _filled(connection) == {"usage": True, "keys": False}
        await _reach(connection, "keys", 0, 1)
        assert await _filled(connection) == {"usage": True, "keys": True}

    async def test_an_empty_topic_is_filled_at_once(self, connection: AsyncConnection[Any]) -> None:
        await set_goals(connection, {("usage", 0): 0, ("usage", 1): 0})
        assert await _filled(connection) == {"usage": True}

    async def test_goals_are_settled_once(self, connection: AsyncConnection[Any]) -> None:
        """Or a busy log would run away from whoever fills a schema from it."""
        await set_goals(connection, {("usage", 0): 5})
        await _reach(connection, "usage", 0, 5)
        await set_goals(connection, {("usage", 0): 6})
        assert await _filled(connection) == {"usage": True}


async def _reach(connection: AsyncConnection[Any], topic: str, partition: int, next_offset: int) -> None:
    await connection.execute(
        "INSERT INTO projection_offset VALUES ('p', %s, %s, %s, 1) "
        "ON CONFLICT (projection, topic, partition) DO UPDATE SET next_offset = excluded.next_offset",
        (topic, partition, next_offset),
    )


async def _filled(connection: AsyncConnection[Any]) -> dict[str, bool]:
    return dict(await _all(connection, "SELECT topic, is_filled FROM filled"))


async def _all(connection: AsyncConnection[Any], query: str) -> list[Any]:
    return await (await connection.execute(query)).fetchall()
