"""`usage.hourly` has lost its records: refused, and once that is accepted every row is published again."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.builders import a_key_created, some_usage
from tests.integration.events.kafka_surgery import make_anew
from tests.integration.projector.commands import hokusai_auth
from tests.integration.projector.world import World, eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

USES = 6


async def test_rows_that_usage_hourly_has_lost_are_published_again(world: World) -> None:
    key = a_key_created()
    await world.append([key])
    await world.append_usage(some_usage(key_id=key.subject, time=datetime.now(UTC)) for _ in range(USES))
    process = world.projector(LOG_CHECK_SECONDS="0.5")
    await world.uses_settled(USES)
    process.stop()
    topic = world.topics.hourly_usage
    await make_anew(world.kafka, world.topics, topic)
    process.start()
    await eventually(lambda: process.says("has lost records"), "it to notice")
    assert await world.hourly_totals() == {}
    for partition in await world.value("SELECT array_agg(partition) FROM projector.log_refusal"):
        place = ["--topic", topic.name, "--partition", str(partition)]
        decision = ["--actor", "oncall", "--reason", "made anew by mistake", "--yes"]
        await hokusai_auth(world, "log", "accept-loss", *place, *decision)
    await world.uses_settled(USES)
    (totals,) = (await world.hourly_totals()).values()
    assert totals[-1].requests == USES
