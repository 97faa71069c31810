"""A topic that billing reads was lost and has grown again: nothing is billed from it until it is decided."""

from __future__ import annotations

import asyncio

import pytest

from tests.billing_builders import JANUARY, an_hour
from tests.builders import a_key_created
from tests.integration.billing.world import World, eventually, when_due
from tests.integration.events.kafka_surgery import make_anew

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

HOURS = range(12)


async def test_hourly_usage_that_has_lost_what_was_read_is_refused(world: World) -> None:
    created = a_key_created()
    key_id = created.subject
    await world.append(created, *(an_hour(key_id, JANUARY, hour=hour) for hour in HOURS))
    async with world.billing(when_due(JANUARY.replace(year=2025))):
        await world.caught_up()
    await make_anew(world.kafka, world.topics, world.topics.hourly_usage)
    for revision in (2, 3):
        others = (an_hour(key_id, JANUARY, hour=hour, revision=revision) for hour in HOURS)
        await world.append(*others)
    async with world.billing(when_due(JANUARY.replace(year=2025))) as running:
        await _is_refused(world, running, world.topics.hourly_usage.name)
    assert await world.rows("SELECT DISTINCT revision FROM billing.hour") == [(1,)]


async def test_statements_that_were_read_and_are_lost_are_refused(world: World) -> None:
    created = a_key_created()
    await world.append(created, an_hour(created.subject, JANUARY))
    async with world.billing(when_due(JANUARY)):
        await world.statements_are((created.subject, JANUARY))
        await world.caught_up()
    await make_anew(world.kafka, world.topics, world.topics.statements)
    async with world.billing(when_due(JANUARY)) as running:
        await _is_refused(world, running, world.topics.statements.name)
    assert await world.sent() == []


async def _is_refused(world: World, running: asyncio.Task[None], topic: str) -> None:
    async def is_noted() -> bool:
        return await world.rows("SELECT DISTINCT topic FROM billing.log_refusal") == [(topic,)]

    await eventually(is_noted, "the refusal")
    assert not running.done()
