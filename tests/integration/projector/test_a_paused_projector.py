"""SIGSTOP, replaced, SIGCONT: what it had in hand is written by its successor, and not by it."""

from __future__ import annotations

import pytest
from tests.integration.projector.lives import lives

from tests.integration.projector.world import World, eventually

pytestmark = pytest.mark.anyio

RECORDS = 9000


async def test_a_projector_that_was_paused_and_replaced_writes_nothing_more(world: World) -> None:
    await world.append(lives(RECORDS))
    paused = world.projector()
    await eventually(lambda: _metric(paused) > RECORDS // 10, "it to be in the middle")
    paused.pause()
    successor = world.projector()
    await world.caught_up(RECORDS)
    claimed = await _epochs(world)
    paused.resume()
    # Back among the living it gets its share of the partitions, by a claim of its own.
    await eventually(lambda: _some_are_claimed_anew(world, claimed), "it to rejoin")
    await world.append(lives(300))
    await world.caught_up(RECORDS + 300)
    assert await world.value("SELECT count(*) FROM projector.key_event") == RECORDS + 300
    assert paused.is_running
    assert successor.is_running
