"""Who may write what follows from a partition."""

from __future__ import annotations

import asyncio

import pytest

from events.claims import Claim, StaleOwner, advance, claim_partition
from events.keeper.database import connect
from events.keeper.schema import prepare_schema
from services.projector.schema import projector_schema
from tests.builders import a_key_created
from tests.integration.projector.world import World, eventually

pytestmark = pytest.mark.anyio


async def test_a_claim_ends_the_one_before_it_though_no_offset_has_moved(world: World) -> None:
    async with await connect(world.database_url, "projector") as connection:
        await prepare_schema(connection, projector_schema())
        old = await claim_partition(connection, "keys", "t", 3)
        new = await claim_partition(connection, "keys", "t", 3)
        assert old.next_offset == new.next_offset == 0
        with pytest.raises(StaleOwner, match="t/3 from offset 0"):
            await advance(connection, old, 10)
        await advance(connection, new, 10)
    assert await world.applied() == 10


async def test_no_batch_is_passed_twice_by_one_owner(world: World) -> None:
    """A commit that Postgres has made and nobody has heard of is such a case."""
    async with await connect(world.database_url, "projector") as connection:
        await prepare_schema(connection, projector_schema())
        claim = await claim_partition(connection, "keys", "t", 3)
        await advance(connection, claim, 10)
        with pytest.raises(StaleOwner):
            await advance(connection, claim, 10)


async def test_partitions_and_projections_are_claimed_apart(world: World) -> None:
    async with await connect(world.database_url, "projector") as connection:
        await prepare_schema(connection, projector_schema())
        claim = await claim_partition(connection, "keys", "t", 3)
        for projection, topic, partition in (("usage", "t", 3), ("keys", "u", 3), ("keys", "t", 4)):
            await claim_partition(connection, projection, topic, partition)
        await advance(connection, claim, 10)


async def test_a_claim_does_not_outlive_the_schema(world: World) -> None:
    async with await connect(world.database_url, "projector") as connection:
        await prepare_schema(connection, projector_schema())
        old = await claim_partition(connection, "keys", "t", 3)
        await connection.execute("DROP SCHEMA projector CASCADE")
        await prepare_schema(connection, projector_schema())
        await claim_partition(connection, "keys", "t", 3)
        with pytest.raises(StaleOwner):
            await advance(connection, old, 10)


async def test_a_claim_waits_for_the_batch_in_progress_and_begins_after_it(world: World) -> None:
    async with (
        await connect(world.database_url, "projector") as batch,
        await connect(world.database_url, "projector") as other,
    ):
        await prepare_schema(batch, projector_schema())
        old = await claim_partition(batch, "keys", "t", 3)
        async with batch.transaction():
            await advance(batch, old, 10)
            claiming = asyncio.create_task(claim_partition(other, "keys", "t", 3))
            await eventually(lambda: _waits_for_a_lock(world), "the claim to wait")
        new: Claim = await claiming
    assert new.next_offset == 10


async def test_an_owner_that_was_robbed_drops_the_partition_and_claims_it_again_when_kafka_confirms(
    world: World,
) -> None:
    """Or else a partition whose thief died at once would have no owner at all."""
    async with world.runner() as running:
        await world.append([a_key_created()])
        await world.caught_up(1)
        await world.execute("UPDATE projector.projection_offset SET owner_epoch = -1")
        await world.append([a_key_created()])
        await eventually(
            lambda: b'owner_drops_total{projection="keys"} 1.0' in world.metrics.text(), "a drop"
        )
        await world.caught_up(2)
        assert not running.done()


async def _waits_for_a_lock(world: World) -> bool:
    return bool(await world.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
