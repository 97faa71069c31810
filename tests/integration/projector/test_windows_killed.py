"""Windows processes die in the middle of the stream: no count is lost, and no offset ever claims too much."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import pytest

from events.codec import encode
from events.kafka_log import KafkaEventLog
from events.log import Position
from events.totals import WindowCount
from tests.builders import fresh_id
from tests.integration.projector.windows_world import WindowsWorld, a_count, highest
from tests.integration.projector.world import ProjectorProcess, eventually

pytestmark = pytest.mark.anyio

LAG = "windows_lag_records"


async def test_killed_and_replaced_its_windows_are_right_and_their_offsets_never_claim_too_much(
    windows_world: WindowsWorld,
) -> None:
    world = windows_world
    await world.make_schema()
    one, other = world.windows(), world.windows()
    await eventually(lambda: bool(one.samples(LAG)) and bool(other.samples(LAG)), "both to have partitions")
    async with Stream(world).flowing() as stream:
        await eventually(lambda: len(stream.sent) > 200, "counters")
        one.kill()
        await eventually(lambda: has_all_partitions(other), "the survivor to have all partitions")
        other.kill()
        third = world.windows()
        await eventually(lambda: has_all_partitions(third), "the third to have all partitions")
    counters = [counter for _, counter in stream.sent]
    await eventually(lambda: world.has(counters), "every count")
    assert stream.snapshots > 20


def has_all_partitions(process: ProjectorProcess) -> bool:
    return len(process.samples(LAG)) == 12


class Stream:
    """Counters that come and come; and somebody who reads what a fresh worker would, all the time."""

    def __init__(self, world: WindowsWorld) -> None:
        self.sent: list[tuple[Position, WindowCount]] = []
        self.snapshots = 0
        self._world = world

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator[Stream]:
        """Until the block is left. Raises `AssertionError` when an offset has claimed too much."""
        stopping = asyncio.Event()
        running = [asyncio.create_task(self._send(stopping)), asyncio.create_task(self._look(stopping))]
        try:
            yield self
        finally:
            stopping.set()
            await asyncio.gather(*running)

    async def _send(self, stopping: asyncio.Event) -> None:
        topic, lineages = self._world.topics.rate_counters.name, [fresh_id() for _ in range(60)]
        async with KafkaEventLog(self._world.kafka) as log:
            for number in count(1):
                # Each speaks once, so that nothing but the log would ever mend what was lost.
                some = [a_count(lineage_id, 1, node_id=f"node-{number}") for lineage_id in lineages[:20]]
                some += [a_count(lineage_id, number) for lineage_id in lineages[20:]]
                places = await asyncio.gather(
                    *(log.append(topic, one.lineage_id.encode(), encode(one)) for one in some)
                )
                self.sent += zip(places, some, strict=True)
                if stopping.is_set():
                    return
                await asyncio.sleep(0.2)  # some 300 counters a second

    async def _look(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            counts, positions = await self._world.seen()
            included = [
                counter for place, counter in self.sent if place.offset < positions.get(place.partition, 0)
            ]
            missing = {
                counted: highest_count
                for counted, highest_count in highest(included).items()
                if counts.get(counted, -1) < highest_count
            }
            assert not missing, missing
            self.snapshots += 1
            await asyncio.sleep(0.1)
