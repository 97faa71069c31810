"""Rate windows without the processes around them: what the windows process would have written, in memory."""

from __future__ import annotations

from collections.abc import Mapping

from events.codec import decode_total, encode
from events.errors import UnreadableRecord
from events.memory_log import MemoryLog
from events.topics import Topic, Topics
from events.totals import WindowCount
from services.api.errors import ReadModelUnavailable
from services.api.windows_snapshot import WindowsSnapshot

COUNTERS: Topic = Topics.from_environment({}).rate_counters


class MemoryWindows:
    """The api's `Windows`, folded anew from the log at every question. It can be away, or stand still."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._stands_at: Mapping[int, int] | None = None
        self.is_away = False

    async def stand_still(self) -> None:
        """The windows process is down from now on; Postgres keeps what it has written."""
        self._stands_at = await self._log.reader(COUNTERS).end_offsets()

    async def snapshot(self, hour: int) -> WindowsSnapshot:
        if self.is_away:
            raise ReadModelUnavailable("The read model is not available, try again")
        positions = self._stands_at or await self._log.reader(COUNTERS).end_offsets()
        highest: dict[tuple[str, str], WindowCount] = {}
        for counter, partition, offset in await _counters_at(self._log):
            key = (counter.lineage_id, counter.node_id)
            if counter.hour == hour and offset < positions[partition]:
                highest[key] = max(highest.get(key, counter), counter, key=lambda one: one.count)
        return WindowsSnapshot(list(highest.values()), positions)


async def append_count(log: MemoryLog, counter: WindowCount) -> None:
    """As another node would."""
    await log.append(COUNTERS.name, counter.lineage_id.encode(), encode(counter))


async def counts_in(log: MemoryLog) -> list[WindowCount]:
    """All counters of the topic, in the order of each lineage."""
    return [counter for counter, _, _ in await _counters_at(log)]


async def _counters_at(log: MemoryLog) -> list[tuple[WindowCount, int, int]]:
    """Each with its partition and offset; what can't be read is left out."""
    reader = log.reader(COUNTERS)
    await reader.begin({})
    found = []
    for record in await reader.read(1_000_000, timeout_seconds=0):
        try:
            counter = decode_total(record.value)
        except UnreadableRecord:
            continue
        if isinstance(counter, WindowCount):
            found.append((counter, record.partition, record.offset))
    return found
