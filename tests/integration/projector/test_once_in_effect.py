"""Killed, doubled, cut into batches anywhere: Postgres equals the fold, no row twice, no event missed."""

from __future__ import annotations

import random
from functools import partial

import pytest

from tests.integration.projector.world import World, eventually, lives

pytestmark = pytest.mark.anyio

RECORDS = 6000


async def test_kill_9_in_the_middle_of_batches_loses_and_repeats_nothing(world: World) -> None:
    await world.append(lives(RECORDS))
    for generation in range(4):
        # A group of its own each time: the killed one's partitions are free at once.
        process = world.projector(PROJECTOR_GROUP=f"generation-{generation}")
        moment = await world.applied() + random.randint(1, RECORDS // 12)
        await eventually(partial(world.has_applied, moment), f"{moment} records applied")
        process.kill()
    assert await world.applied() < RECORDS, "all was over before the last kill"
    world.projector(PROJECTOR_GROUP="survivor")
    await world.caught_up(RECORDS)
    assert await world.value("SELECT count(*) FROM projector.key_event") == RECORDS


async def test_two_projectors_at_once_on_the_same_partitions_write_everything_once(world: World) -> None:
    """Two groups: each is told that all partitions are its own, which one group never is."""
    await world.append(lives(RECORDS // 2))
    one, other = world.projector(PROJECTOR_GROUP="one"), world.projector(PROJECTOR_GROUP="other")
    await world.caught_up(RECORDS // 2)
    await world.append(lives(150))
    await world.caught_up(RECORDS // 2 + 150)
    drops = "projector_stale_owner_drops_total"
    assert one.metric(drops) + other.metric(drops) > 0, "they never met"
    assert one.is_running
    assert other.is_running
