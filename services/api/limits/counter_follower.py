"""Follows `ratelimit.counters` for ever: what the other nodes have counted in this hour."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from events.clock import Clock
from events.codec import decode_total
from events.errors import LogUnavailable, UnreadableRecord, WrongLog
from events.log import LogReader, Record
from events.totals import WindowCount
from events.waiting import wait_for
from services.api.errors import ReadModelUnavailable
from services.api.limits.peer_counts import PeerCounts
from services.api.limits.window_tables import WindowTables
from services.api.metrics import Metrics
from services.api.ports import Windows
from services.api.tail import read_on

logger = logging.getLogger(__name__)

LOAD_BATCH = 5000
#: Small enough to let the follower's other work go on.
LIVE_BATCH = 250
#: Another node may have begun the hour so much earlier by its clock.
CLOCK_SKEW_SECONDS = 60
WHAT = "counts of other nodes"


class CounterFollower:
    """From a snapshot, or from the start of the hour, to all that was counted; then on, without a group.

    Counts matter for an hour and the topic keeps them for three: where it does not hold what comes next,
    following begins again at the start of the hour, and nothing is counted twice.
    """

    def __init__(
        self,
        reader: LogReader,
        tables: WindowTables,
        node_id: str,
        snapshots: Windows,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._reader = reader
        self._tables = tables
        self._counts = PeerCounts(tables, node_id)
        self._snapshots = snapshots
        self._clock = clock
        self._metrics = metrics

    async def start(self) -> None:
        """Know all that was counted before now. Raises `LogUnavailable`, or `WrongLog`: then try again."""
        ends = await self._reader.end_offsets()
        await self._begin(await self._load())
        while any(self._reader.positions()[partition] < end for partition, end in ends.items()):
            self._learn(await self._reader.read(LOAD_BATCH))
            await asyncio.sleep(0)

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            try:
                records = await read_on(self._reader, LIVE_BATCH, WHAT)
            except WrongLog as error:
                logger.warning("begin again at the start of the hour: %s", error)
                await wait_for(WHAT, lambda: self._begin({}), (LogUnavailable, WrongLog))
            else:
                self._learn(records)
            await asyncio.sleep(0)

    async def _load(self) -> Mapping[int, int]:
        """Learn the windows that Postgres has; from where on it does not know them."""
        number = self._tables.number(self._clock.seconds())
        try:
            snapshot = await self._snapshots.snapshot(number)
            # The next window's counts come from nodes whose clocks are ahead. This picture is the later one:
            # what it knows beyond the other is read again.
            ahead = await self._snapshots.snapshot(number + 1)
        except ReadModelUnavailable as error:
            logger.warning("no snapshot of windows (%s): reading the counters of the whole hour", error)
            return {}
        for counter in (*snapshot.counters, *ahead.counters):
            self._counts.learn(counter, self._clock.seconds())
        return snapshot.positions

    async def _begin(self, positions: Mapping[int, int]) -> None:
        """Go on at these positions; where they lie before the hour or beyond the log, at its start."""
        began_at_seconds = self._tables.begins_at_seconds(self._tables.number(self._clock.seconds()))
        ends = await self._reader.end_offsets()
        starts = await self._reader.offsets_at(int((began_at_seconds - CLOCK_SKEW_SECONDS) * 1000))
        known = {
            partition: position
            for partition, position in positions.items()
            if starts.get(partition, position) <= position <= ends.get(partition, -1)
        }
        await self._reader.begin({**starts, **known})

    def _learn(self, records: Sequence[Record]) -> None:
        now = self._clock.seconds()
        for record in records:
            try:
                counter = decode_total(record.value)
            except UnreadableRecord as error:
                self._refuse(record, str(error))
                continue
            if not isinstance(counter, WindowCount) or record.key != counter.lineage_id.encode():
                self._refuse(record, "not a counter of the lineage that its key names")
                continue
            self._counts.learn(counter, now)
            self._metrics.window_count_read()

    def _refuse(self, record: Record, why: str) -> None:
        self._metrics.unreadable()
        logger.error(
            "unreadable record in %s[%d] at offset %d: %s", record.topic, record.partition, record.offset, why
        )
