"""The picture of the windows that a fresh worker starts from."""

from __future__ import annotations

from collections.abc import AsyncIterator

import psycopg
import pytest

from events.keeper.schema import prepare_schema
from events.totals import WindowCount
from services.api.errors import ReadModelUnavailable
from services.api.read_models import PostgresReadModels
from services.api.windows_snapshot import PostgresWindows
from services.projector.schema import projector_schema
from tests.builders import fresh_id

pytestmark = pytest.mark.anyio

HOUR = 500_000


@pytest.fixture
async def windows(database_url: str) -> AsyncIterator[PostgresWindows]:
    postgres = PostgresReadModels(database_url, "keys.lifecycle")
    await postgres.open()
    yield PostgresWindows(postgres, "ratelimit.counters")
    await postgres.close()


async def test_it_has_each_node_of_the_hour_and_how_far_the_topic_was_followed(
    database_url: str, windows: PostgresWindows
) -> None:
    lineages, key_id = [fresh_id(), fresh_id()], fresh_id()
    rows = [
        (lineages[0], HOUR, "one", "validations", 7),
        (lineages[0], HOUR, key_id, "reports", 9),
        (lineages[1], HOUR, "one", "validations", 1),
        (lineages[1], HOUR - 1, "one", "validations", 1000),
    ]
    async with await psycopg.AsyncConnection.connect(
        database_url, autocommit=True, options="-c search_path=projector"
    ) as connection:
        await prepare_schema(connection, projector_schema())
        async with connection.cursor() as cursor:
            await cursor.executemany("INSERT INTO rate_window VALUES (%s, %s, %s, %s, %s)", rows)
            await cursor.executemany(
                "INSERT INTO projection_offset VALUES (%s, %s, %s, %s, 0)",
                [("windows", "ratelimit.counters", 3, 41), ("keys", "keys.lifecycle", 3, 5)],
            )

    for _ in range(2):  # the connection is as it was
        snapshot = await windows.snapshot(HOUR)
        assert snapshot.positions == {3: 41}
        assert sorted(snapshot.counters, key=repr) == sorted(
            (
                WindowCount.model_validate(
                    {"lineage_id": lineage, "hour": hour, "node_id": node, "kind": kind, "count": count}
                )
                for lineage, hour, node, kind, count in rows
                if hour == HOUR
            ),
            key=repr,
        )


async def test_before_there_is_a_picture_it_is_not_available(windows: PostgresWindows) -> None:
    with pytest.raises(ReadModelUnavailable):
        await windows.snapshot(HOUR)
