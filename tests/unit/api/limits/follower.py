"""The follower process of a node, over a log in memory: publishing and following while it is open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from events.clock import Clock
from events.log import EventLog, LogReader
from events.memory_log import MemoryLog
from events.totals import WindowCount
from services.api.directory.freshness import Freshness
from services.api.limits.counter_follower import CounterFollower
from services.api.limits.due import DueListener
from services.api.limits.node_id import node_id
from services.api.limits.publisher import CounterPublisher
from services.api.limits.window_tables import WindowTables
from services.api.metrics import COUNTERS as NUMBERS
from services.api.metrics import Metrics, NodeCollector
from services.api.node import Node
from tests.fakes import ManualTime, UnsteadyLog
from tests.unit.api.limits.node import BEGIN
from tests.window_fakes import COUNTERS, MemoryWindows, counts_in

NOW = datetime.fromtimestamp(BEGIN + 10, UTC)
PATIENCE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class FollowerProcess:
    """What publishes and follows for a node."""

    node_id: str
    tables: WindowTables
    publisher: CounterPublisher
    follower: CounterFollower
    metrics: Metrics


@asynccontextmanager
async def a_follower(
    folder: Path,
    log: MemoryLog,
    time: ManualTime,
    *,
    appends: EventLog | None = None,
    reader: LogReader | None = None,
    snapshots: MemoryWindows | None = None,
    is_killed: bool = False,
) -> AsyncIterator[FollowerProcess]:
    """It knows what was counted before when this is entered; a killed one does not flush at the end."""
    tables, listener, metrics, clock = WindowTables(folder), DueListener(folder), Metrics(), time.clock()
    me = node_id(folder)
    publisher = CounterPublisher(
        tables, listener, me, appends or UnsteadyLog(log), COUNTERS.name, clock, metrics, flush_seconds=0.3
    )
    follower = CounterFollower(
        reader or log.reader(COUNTERS), tables, me, snapshots or MemoryWindows(log), clock, metrics
    )
    await follower.start()
    tasks = [asyncio.create_task(follower.run()), asyncio.create_task(publisher.run())]
    try:
        yield FollowerProcess(me, tables, publisher, follower, metrics)
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        if not is_killed:
            await publisher.flush()
        listener.close()
        tables.close()


def samples(follower: FollowerProcess, folder: Path) -> dict[str, float]:
    """What its metrics say."""
    node = Node(folder, NUMBERS)
    follower.metrics.sit(node.enter())
    families = list(NodeCollector(node, Freshness(folder), Clock()).collect())
    node.leave()
    return {sample.name: sample.value for family in families for sample in family.samples}


async def eventually(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            found = condition()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.005)


async def published(log: MemoryLog, lineage_id: str, hour: int) -> dict[str, int]:
    """The highest count that each node has published."""
    highest: dict[str, int] = {}
    for counter in await counts_of(log, lineage_id, hour):
        highest[counter.node_id] = max(counter.count, highest.get(counter.node_id, 0))
    return highest


async def counts_of(log: MemoryLog, lineage_id: str, hour: int) -> list[WindowCount]:
    """All counters of a window in the log, in their order."""
    return [one for one in await counts_in(log) if (one.lineage_id, one.hour) == (lineage_id, hour)]
