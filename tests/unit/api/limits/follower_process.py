"""A node's follower in a process of its own. It says `LINEAGE_ID COUNT` for every count that it publishes.

Another node has published ten requests of the lineage that it is started with.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from events.clock import Clock
from events.codec import decode_total
from events.log import Position
from events.memory_log import MemoryLog
from events.totals import WindowCount
from services.api.limits.counter_follower import CounterFollower
from services.api.limits.due import DueListener
from services.api.limits.node_id import node_id
from services.api.limits.publisher import CounterPublisher
from services.api.limits.window_tables import WindowTables
from services.api.metrics import Metrics
from tests.unit.api.limits.node import BEGIN, HOUR
from tests.window_fakes import COUNTERS, MemoryWindows, append_count


class SpokenLog(MemoryLog):
    """Says what is appended."""

    async def append(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Position:
        counter = decode_total(value)
        assert isinstance(counter, WindowCount)
        print(counter.lineage_id, counter.count, flush=True)  # noqa: T201
        return await super().append(topic, key, value, headers)


async def main(folder: Path, lineage_id: str) -> None:
    clock, metrics = Clock(lambda: BEGIN), Metrics()
    log, published = MemoryLog(seconds=clock.seconds), SpokenLog()
    elsewhere = WindowCount(
        node_id="another",
        kind="validations",
        lineage_id=lineage_id,
        hour=HOUR,
        count=10,
    )
    await append_count(log, elsewhere)
    tables, me = WindowTables(folder), node_id(folder)
    follower = CounterFollower(log.reader(COUNTERS), tables, me, MemoryWindows(log), clock, metrics)
    await follower.start()
    publisher = CounterPublisher(tables, DueListener(folder), me, published, COUNTERS.name, clock, metrics)
    await asyncio.gather(follower.run(), publisher.run())


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
