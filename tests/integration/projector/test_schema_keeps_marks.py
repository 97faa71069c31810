"""What is known of the log outlasts the schema that it was found out with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from psycopg import AsyncConnection, sql

from events.keeper.database import connect
from events.keeper.schema import prepare_schema
from services.projector.schema import projector_schema

pytestmark = pytest.mark.anyio

ABOUT_THE_LOG = ("log_mark", "log_refusal", "log_loss")


async def test_marks_refusals_and_losses_are_carried_into_a_newer_schema(database_url: str) -> None:
    schema = projector_schema()
    async with await connect(database_url, schema.name) as connection:
        await prepare_schema(connection, schema)
        await connection.execute("INSERT INTO log_mark VALUES ('keys.usage', 3, 17, 5, 17001, 99, true)")
        await connection.execute(
            "INSERT INTO log_refusal (topic, partition, first_lost, applied_to, why)"
            " VALUES ('keys.usage', 3, 5, 9, 'it ends at offset 5')"
        )
        await connection.execute(
            "INSERT INTO log_loss"
            " (topic, partition, first_lost, applied_to, why, refused_at, actor, reason, lost)"
            " VALUES ('keys.usage', 4, 1, 2, 'cut', now(), 'oncall', 'disk', '[{\"event_id\": \"1\"}]')"
        )
        before = [await _rows(connection, table) for table in ABOUT_THE_LOG]
        assert all(before)
        await prepare_schema(connection, replace(schema, version=schema.version + 1))
        assert [await _rows(connection, table) for table in ABOUT_THE_LOG] == before


async def _rows(connection: AsyncConnection[Any], table: str) -> list[Any]:
    query = sql.SQL("SELECT to_jsonb(t) FROM {} t").format(sql.Identifier(table))
    return await (await connection.execute(query)).fetchall()
