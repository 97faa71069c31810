"""Killed, doubled, cut into batches anywhere: Postgres equals the fold, no row twice, no event missed."""

from __future__ import annotations

import random

import pytest

from events.keys import KeyEvent
from tests.builders import a_key_created, a_key_revoked, a_key_rotated
from tests.integration.projector.world import World, eventually

pytestmark = pytest.mark.anyio

LIVES = 2000
RECORDS = 3 * LIVES


async def test_kill_9_in_the_middle_of_batches_loses_and_repeats_nothing(world: World) -> None:
    await world.append(_lives(LIVES))
    for generation in range(4):
        # A group of its own each time: the killed one's partitions are free at once.
        process = world.projector(PROJECTOR_GROUP=f"generation-{generation}")
        before = await _applied(world)
        moment = before + random.randint(1, RECORDS // 12)
        await eventually(lambda: _has_applied(world, moment), f"{moment} records applied")
        process.kill()
    assert await world.applied() < RECORDS, "all was over before the last kill"
    world.projector(PROJECTOR_GROUP="survivor")
    await world.caught_up(RECORDS)
    assert await world.value("SELECT count(*) FROM projector.key_event") == RECORDS


async def test_two_projectors_at_once_on_the_same_partitions_write_everything_once(world: World) -> None:
    """Two groups: each is told that all partitions are its own, which one group never is."""
    await world.append(_lives(LIVES))
    one, other = world.projector(PROJECTOR_GROUP="one"), world.projector(PROJECTOR_GROUP="other")
    await world.caught_up(RECORDS)
    await world.append(_lives(50))
    await world.caught_up(RECORDS + 150)
    drops = "projector_stale_owner_drops_total"
    assert one.metric(drops) + other.metric(drops) > 0, "they never met"
    assert one.is_running
    assert other.is_running


def _lives(number: int) -> list[KeyEvent]:
    """Keys that are created, rotated and revoked."""
    events: list[KeyEvent] = []
    for _ in range(number):
        created = a_key_created()
        rotated = a_key_rotated(created)
        events += [created, rotated, a_key_revoked(rotated)]
    return events


async def _has_applied(world: World, records: int) -> bool:
    return await _applied(world) >= records


async def _applied(world: World) -> int:
    exists = await world.value("SELECT to_regclass('projector.projection_offset')")
    return await world.applied() if exists is not None else 0
