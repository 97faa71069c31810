"""Batches of different partitions are in hand at once; those of one follow on each other, wherever cut."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from psycopg import AsyncConnection

from events.dead_letters import DeadLetter
from events.log import Record
from services.projector.keys import KeysProjection
from tests.integration.projector.world import World, lives

pytestmark = pytest.mark.anyio

RECORDS = 600
LARGEST = 7


class WatchedKeys(KeysProjection):
    """Notes which batches it is given, and what else is in hand meanwhile."""

    in_hand: Counter[int]
    most_in_hand: int
    lengths: list[int]

    async def apply(
        self, connection: AsyncConnection[Any], records: Sequence[Record]
    ) -> Sequence[DeadLetter]:
        self.lengths.append(len(records))
        partition = records[0].partition
        self.in_hand[partition] += 1
        assert self.in_hand[partition] == 1, "two batches of one partition at once"
        self.most_in_hand = max(self.most_in_hand, self.in_hand.total())
        try:
            await asyncio.sleep(0)
            return await super().apply(connection, records)
        finally:
            self.in_hand[partition] -= 1


def watched_keys(world: World) -> WatchedKeys:
    keys = WatchedKeys(world.topics)
    keys.in_hand, keys.most_in_hand, keys.lengths = Counter(), 0, []
    return keys


async def test_two_partitions_are_in_hand_at_once_and_batches_are_cut_without_a_gap(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("events.group_member.LARGEST_BATCH_RECORDS", LARGEST)
    await world.append(lives(RECORDS))
    keys = watched_keys(world)
    async with world.runner(keys):
        await world.caught_up(RECORDS)
    assert keys.most_in_hand == 2
    assert max(keys.lengths) == LARGEST
    assert await world.value("SELECT count(*) FROM projector.key_event") == RECORDS
