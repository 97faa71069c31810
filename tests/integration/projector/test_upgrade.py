"""A newer projector makes the schema anew: the one that ran before writes nothing into it and ends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from events.keeper.database import connect
from events.keeper.schema import prepare_schema
from services.projector.schema import projector_schema
from tests.integration.projector.world import World, eventually, lives

pytestmark = pytest.mark.anyio


async def test_a_running_projector_leaves_a_newer_schema_alone_and_ends(world: World) -> None:
    old = world.projector(LOG_CHECK_SECONDS="3600")
    await world.append(lives(60))
    await world.caught_up(60)
    newer = projector_schema()
    async with await connect(world.database_url, newer.name) as connection:
        await prepare_schema(connection, replace(newer, version=newer.version + 1))
    await world.append(lives(60))
    await eventually(lambda: not old.is_running, "the end of the old one")
    assert old.says("made anew in version")
    assert await world.applied() == 0
    again = world.projector()
    await eventually(lambda: not again.is_running, "the refusal")
    assert again.says("upgrade it")
