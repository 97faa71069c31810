"""SIGSTOP, replaced, SIGCONT: what it had in hand is written by its successor, and not by it."""

from __future__ import annotations

import pytest

from tests.integration.projector.world import World, eventually, lives

pytestmark = pytest.mark.anyio

RECORDS = 4500


async def test_a_projector_that_was_paused_and_replaced_writes_nothing_more(world: World) -> None:
    await world.append(lives(RECORDS))
    paused = world.projector()
    await eventually(lambda: world.has_applied(RECORDS // 20), "it to be in the middle")
    paused.pause()
    assert await world.applied() < RECORDS, "it was over before the pause"
    successor = world.projector()
    await world.caught_up(RECORDS)
    claims_of_the_successor = await world.claims()
    paused.resume()
    # Back among the living it gets its share of the partitions, by claims of its own.
    await eventually(lambda: world.has_other_claims(claims_of_the_successor), "a new claim")
    await world.append(lives(300))
    await world.caught_up(RECORDS + 300)
    assert await world.value("SELECT count(*) FROM projector.key_event") == RECORDS + 300
    assert paused.is_running
    assert successor.is_running
