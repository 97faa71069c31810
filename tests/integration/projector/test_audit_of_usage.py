"""The auditor finds every sum that does not follow from the log, and every total that was told wrongly."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from events.kafka_log import KafkaLogReader
from events.keeper.database import connect
from events.keeper.snapshot import take_snapshot
from events.keeper.verification import Differences
from events.lineage import Lineage
from services.projector.replay import replay
from services.projector.verification_hourly import compare_published
from services.projector.verification_tables import TABLES
from services.projector.verification_usage import compare_usage
from tests.builders import a_key_created, some_usage
from tests.integration.projector.world import World

pytestmark = pytest.mark.anyio

TAMPERED = {
    "UPDATE projector.usage_hour SET requests = requests + 1": "differs in requests",
    "UPDATE projector.usage_hour SET compute_us = 7": "differs in compute_us",
    "UPDATE projector.usage_endpoint_month SET errors = 7": "differs in errors",
    "UPDATE projector.usage_service_day SET predictions = 7": "differs in predictions",
    "DELETE FROM projector.usage_hour": "is missing in Postgres",
    "UPDATE projector.usage_last SET last_used_at = now()": "differs in last_used_at",
    "DELETE FROM projector.usage_progress": "progress of partition",
    "INSERT INTO projector.usage_last VALUES (gen_random_uuid(), now())": "does not follow from the log",
    "UPDATE projector.projection_offset SET next_offset = 50": "Postgres is at offset 50, the log ends at",
    "DELETE FROM projector.usage_published": "is missing in Postgres",
    "UPDATE projector.usage_hour SET revision = 9": "at revision 2, behind Postgres with 9",
    "UPDATE projector.usage_hour SET revision = 1": "at revision 2, ahead of Postgres with 1",
    "UPDATE projector.usage_hour SET response_time_us = 7": "other totals than Postgres in the same revision",
}


async def test_sums_that_wait_to_be_published_are_told_unless_the_topic_has_them(world: World) -> None:
    key = a_key_created()
    await world.append([key])
    projector = world.projector()
    await world.append_usage([some_usage(key_id=key.subject, time=datetime.now(UTC))])
    await world.uses_settled(1)
    projector.kill()
    waiting = (
        "INSERT INTO projector.usage_unpublished (key_id, hour, revision) SELECT key_id, hour, {} FROM {}"
    )
    await world.execute(waiting.format("requests", "projector.usage_hour"))
    assert (await world.verified(0.5)).problems == []
    await world.execute("UPDATE projector.usage_unpublished SET revision = 2")
    found = await world.verified(0.5)
    assert found.unpublished == 1
    assert found.problems == ["1 sums of hours wait to be published in usage.hourly"]


async def test_a_sum_that_was_tampered_with_is_found(world: World) -> None:
    key = a_key_created()
    await world.append([key])
    world.projector()
    await world.append_usage(some_usage(key_id=key.subject, time=datetime.now(UTC)) for _ in range(2))
    await world.uses_settled(2)
    topics = world.topics
    async with (
        await connect(world.database_url, "projector") as connection,
        KafkaLogReader(world.kafka, topics.lifecycle) as lifecycle,
        KafkaLogReader(world.kafka, topics.usage) as usage,
        KafkaLogReader(world.kafka, topics.hourly_usage) as hourly,
    ):
        lineages: dict[str, Lineage] = {}
        async for _ in replay(lifecycle, await lifecycle.end_offsets(), lineages):
            pass
        for tampering, finding in TAMPERED.items():
            async with connection.transaction(force_rollback=True):
                await connection.execute(tampering)
                tables = await take_snapshot(connection, TABLES)
            found = Differences()
            with tables:
                found.add(await compare_usage(tables, usage, topics.usage.name, lineages))
                await compare_published(tables, hourly, topics.hourly_usage.name, topics.usage.name, found)
            assert any(finding in difference for difference in found.listed), (tampering, found)
            assert key.data.name not in str(found)
