"""A partition that is taken away and given back is read by its newest claim alone."""

from __future__ import annotations

import pytest

from tests.integration.projector.world import World, eventually, lives

pytestmark = pytest.mark.anyio

RECORDS = 600


async def test_who_waited_for_records_before_a_rebalance_takes_none_behind_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it took would be passed, and never applied: the consumer's position is the same for both."""
    monkeypatch.setattr("events.group_member.WAIT_MS", 8000)
    await world.append(lives(RECORDS))
    async with world.runner():
        await eventually(lambda: world.has_applied(RECORDS), "the first records")
        for round_ in (2, 3):
            alone = await world.claims()
            async with world.runner():
                await eventually(lambda: world.has_other_claims(alone), "another one to have a share")  # noqa: B023
            await world.append(lives(RECORDS))
            await world.caught_up(RECORDS * round_)
