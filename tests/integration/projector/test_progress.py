"""What the projector announces as published is in usage.hourly, and it announces nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from events.clock import Clock
from events.codec import decode_total
from events.kafka_clients import administration
from events.kafka_cluster import partition_ends
from events.kafka_log import KafkaEventLog
from events.keeper.database import connect
from events.keeper.process import Opened
from events.keeper.schema import prepare_schema
from events.queries import load_queries
from events.topics import LogSettings
from events.usage_progress import UsagePublished
from services.projector.hourly import HourlyPublisher
from services.projector.progress import ProgressAnnouncer
from services.projector.published import PublishedProjection
from services.projector.schema import projector_schema
from services.projector.usage import UsageProjection
from tests.builders import a_key_created, fresh_id, some_usage
from tests.integration.projector.world import World, eventually

pytestmark = pytest.mark.anyio

#: Long enough for whatever does not wait to be over: who waits rightly does so for ever.
A_WHILE_SECONDS = 1.0


async def test_what_is_applied_and_not_published_is_not_announced(world: World) -> None:
    key = a_key_created()
    await world.append([key])
    async with world.runner(), world.runner(_usage(world)), world.runner(PublishedProjection(world.topics)):
        await world.append_usage([some_usage(key_id=key.subject, time=datetime.now(UTC))])
        await eventually(partial(_waiting, world, 1), "a row to wait")
        async with _opened(world) as opened:
            announcing = asyncio.create_task(_announcer(world).announce(opened))
            await asyncio.wait({announcing}, timeout=A_WHILE_SECONDS)
            assert not announcing.done()
            assert await _announced(world) == []
            publisher = HourlyPublisher(_settings(world), Clock(), world.metrics)
            publishing = asyncio.create_task(publisher.work(opened))
            await asyncio.wait_for(announcing, 30)
            publishing.cancel()
    (used,) = await world.read(world.topics.usage)
    (until,) = await _announced(world)
    assert until.timestamp() * 1000 >= used.timestamp
    assert len(await world.hourly_totals()) == 1


async def test_a_key_that_is_used_all_the_time_keeps_nobody_waiting(world: World) -> None:
    key = a_key_created()
    await world.append([key])

    async def use_it() -> None:
        while True:
            await world.append_usage([some_usage(key_id=key.subject, time=datetime.now(UTC))])

    async with (
        world.runner(),
        world.runner(_usage(world)),
        world.runner(PublishedProjection(world.topics)),
        _opened(world) as opened,
    ):
        publisher = HourlyPublisher(_settings(world), Clock(), world.metrics)
        working = [asyncio.create_task(work) for work in (publisher.work(opened), use_it())]
        await eventually(partial(_waiting, world, 1), "a row to wait")
        await asyncio.wait_for(_announcer(world).announce(opened), 30)
        for task in working:
            task.cancel()
        await asyncio.wait(working)
    assert len(await _announced(world)) == 1


async def test_a_schema_made_anew_has_to_publish_its_own_rows_first(world: World) -> None:
    """It has forgotten what the old one had to publish, which was announced by nobody yet."""
    published, unpublished = sorted(fresh_id() for _ in range(2))[::-1]
    await _make_schema(world)
    await world.execute(_insert("usage_unpublished", published))
    async with _opened(world) as opened:
        announcing = asyncio.create_task(_announcer(world).announce(opened))
        await asyncio.wait({announcing}, timeout=A_WHILE_SECONDS)
        assert not announcing.done()
        async with await connect(world.database_url, "projector") as connection, connection.transaction():
            await connection.execute("DROP SCHEMA projector CASCADE")
            await prepare_schema(connection, projector_schema())
            await connection.execute(_insert("usage_published", published).encode())
            await connection.execute(_insert("usage_unpublished", unpublished).encode())
        await asyncio.wait({announcing}, timeout=A_WHILE_SECONDS)
        assert not announcing.done()
        await world.execute(_insert("usage_published", unpublished))
        await asyncio.wait_for(announcing, 30)


def _insert(table: str, key_id: str) -> str:
    values = f"('{key_id}', '2026-03-01T10:00Z', 1)"
    return f"INSERT INTO projector.{table} (key_id, hour, revision) VALUES {values}"


async def _make_schema(world: World) -> None:
    async with await connect(world.database_url, "projector") as connection:
        await prepare_schema(connection, projector_schema())


@asynccontextmanager
async def _opened(world: World, statement_seconds: int = 10) -> AsyncIterator[Opened]:
    kwargs = {
        "autocommit": True,
        "options": f"-c search_path=projector -c timezone=UTC -c statement_timeout={statement_seconds}s",
    }
    pool = AsyncConnectionPool[AsyncConnection[Any]](world.database_url, kwargs=kwargs, open=False)
    async with pool, KafkaEventLog(world.kafka) as log:
        yield Opened(pool, log)


def _announcer(world: World) -> ProgressAnnouncer:
    ends = partial(partition_ends, world.kafka, world.topics.usage)
    return ProgressAnnouncer(world.topics, ends, world.metrics)


def _settings(world: World) -> LogSettings:
    return LogSettings.from_environment(world.environment())


def _usage(world: World) -> UsageProjection:
    return UsageProjection(world.topics, partial(partition_ends, world.kafka, world.topics.lifecycle))


async def _waiting(world: World, rows: int) -> bool:
    return int(await world.value("SELECT count(*) FROM projector.usage_unpublished")) == rows


async def _announced(world: World) -> list[datetime]:
    """Up to when usage is said to be published, oldest word first."""
    events = [
        decode_total(record.value)
        for record in await world.read(world.topics.usage_progress)
        if record.value is not None
    ]
    return [event.data.complete_until for event in events if isinstance(event, UsagePublished)]


async def test_publishing_goes_on_with_fewer_rows_where_a_query_meets_its_time_limit(world: World) -> None:
    """A trigger makes each row that is taken slow, as a large table would."""
    key = a_key_created()
    await world.append([key])
    hours = [datetime(2026, 11, day, hour, tzinfo=UTC) for day in (25, 26) for hour in range(24)]
    async with world.runner(), world.runner(PublishedProjection(world.topics)):
        await eventually(partial(_is_known, world), "the key")
        for hour in hours:
            await world.execute(
                "INSERT INTO projector.usage_hour VALUES "
                f"('{key.subject}', '{hour.isoformat()}', '{key.subject}', 1, 1, 0, 1, 1, 1)"
            )
        await world.execute(
            "INSERT INTO projector.usage_unpublished (key_id, hour, revision) "
            "SELECT key_id, hour, 1 FROM projector.usage_hour"
        )
        await world.execute(
            "CREATE FUNCTION projector.slowly() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN PERFORM pg_sleep(0.1); RETURN NEW; END'"
        )
        await world.execute(
            "CREATE TRIGGER slowly BEFORE UPDATE ON projector.usage_unpublished "
            "FOR EACH ROW EXECUTE FUNCTION projector.slowly()"
        )
        settings = _settings(world)
        async with _opened(world, statement_seconds=1) as opened:
            publisher = HourlyPublisher(settings, Clock(), world.metrics)
            publishing = asyncio.create_task(publisher.work(opened))
            await eventually(partial(_waiting, world, 0), "every row to be published", 60)
            publishing.cancel()
    assert len(await world.hourly_totals()) == len(hours)
    assert not publisher.is_stalled
    labels = {"work": "publishing"}
    assert world.metrics.registry.get_sample_value("projector_query_timeouts_total", labels)


async def _is_known(world: World) -> bool:
    return int(await world.value("SELECT count(*) FROM projector.key")) == 1


async def test_the_next_rows_to_send_are_found_by_an_index_however_many_wait(world: World) -> None:
    await _make_schema(world)
    await world.execute(
        "INSERT INTO projector.usage_unpublished (key_id, hour, revision) "
        "SELECT gen_random_uuid(), '2026-03-01T10:00Z', 1 FROM generate_series(1, 50000)"
    )
    await world.execute("ANALYZE projector.usage_unpublished")
    query = load_queries("services.projector", "hourly.sql")["hold_unpublished"] % {"rows": 500}
    plan = json.dumps(await world.value(f"EXPLAIN (FORMAT JSON) {query}"))
    assert "usage_unpublished_turn" in plan
    assert '"Sort"' not in plan


async def test_beside_a_log_that_is_older_than_the_topic_everything_else_goes_on(world: World) -> None:
    key = a_key_created()
    async with administration(world.kafka) as admin:
        await admin.delete_topics([world.topics.usage_progress.name])
    projector = world.projector()
    await world.append([key])
    await world.append_usage([some_usage(key_id=key.subject, time=datetime.now(UTC))])
    await world.uses_settled(1)
    assert projector.is_running
