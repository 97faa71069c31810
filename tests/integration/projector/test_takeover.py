"""Partitions whose last owner has a batch in hand: stopped for good, or only slow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from psycopg import AsyncConnection
from psycopg.errors import AdminShutdown

from events.claims import advance, claim_partition
from events.keeper.database import connect
from events.keeper.schema import prepare_schema
from services.projector.schema import projector_schema
from tests.integration.projector.world import World, eventually, lives

pytestmark = pytest.mark.anyio

RECORDS = 600


async def test_an_owner_that_stopped_in_the_middle_of_a_copy_is_ended(world: World) -> None:
    """Postgres would wait for the rest of its rows for ever: no timeout of its own ends that."""
    await world.append(lives(RECORDS))
    async with _a_batch_in_hand(world) as owner:
        with pytest.raises(AdminShutdown):
            await _copy_what_comes_too_late(owner, _all_applied(world))
    await world.caught_up(RECORDS)


async def test_an_owner_that_is_slow_holds_up_its_own_partition_and_is_left_in_peace(world: World) -> None:
    places = await world.append(lives(RECORDS))
    others = sum(place.partition != 0 for place in places)
    async with _a_batch_in_hand(world) as owner:
        working = asyncio.create_task(owner.execute("SELECT pg_sleep(6)"))
        async with world.runner():
            await eventually(lambda: world.has_applied(others), "the other partitions", 5)
            assert not working.done()
            await working
            await owner.rollback()
            await world.caught_up(RECORDS)


async def _copy_what_comes_too_late(owner: AsyncConnection[Any], pause: Awaitable[None]) -> None:
    await owner.execute("CREATE TEMPORARY TABLE batch (value text)")
    async with owner.cursor().copy("COPY batch FROM STDIN") as copy:
        await pause
        await copy.write_row(["too late"])


async def _all_applied(world: World) -> None:
    async with world.runner():
        await eventually(lambda: world.has_applied(RECORDS), "all records", 10)


@asynccontextmanager
async def _a_batch_in_hand(world: World) -> AsyncIterator[AsyncConnection[Any]]:
    """What an owner of partition 0 of keys.lifecycle has open in the middle of a batch."""
    async with await connect(world.database_url, "projector") as owner:
        await prepare_schema(owner, projector_schema())
        claim = await claim_partition(owner, "keys", world.topics.lifecycle.name, 0)
        await owner.execute("BEGIN")
        await advance(owner, claim, 1)
        yield owner
