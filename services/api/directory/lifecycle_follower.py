"""Follows the lifecycle topic for ever and writes every record into the node's store."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from events.clock import Clock, boottime
from events.errors import LogUnavailable, WrongLog
from events.keys import KeyEvent
from events.lifecycle import Folded, Unreadable
from events.lineage import Applied, Ignored
from events.log import LOG_APPEND_TIME, LogReader, Record
from events.together import run_together
from services.api.directory.freshness import Freshness
from services.api.directory.key_store import KeyStore
from services.api.directory.store_writer import StoreWriter
from services.api.errors import StoreUnavailable
from services.api.metrics import Metrics
from services.api.tail import read_on

logger = logging.getLogger(__name__)

ASK_SECONDS = 1.0
EXHAUSTION_PAUSE_SECONDS = 0.5
LOAD_BATCH = 5000
#: Some milliseconds: what is asked of the follower is answered between two batches.
LIVE_BATCH = 50
#: All who ask within this time share one question to the log, so that a flood of made-up ids costs little.
GATHER_SECONDS = 0.05
PATIENCE_SECONDS = 1.0
POLL_SECONDS = 0.005


class LifecycleFollower:
    """Reads the topic from where the store stands, without a group."""

    def __init__(
        self,
        reader: LogReader,
        store: KeyStore,
        writer: StoreWriter,
        freshness: Freshness,
        metrics: Metrics,
        clock: Clock,
        boottime: Callable[[], float] = boottime,
    ) -> None:
        self._reader = reader
        self._store = store
        self._writer = writer
        self._freshness = freshness
        self._metrics = metrics
        self._clock = clock
        self._boottime = boottime
        self._applied: Mapping[int, int] = {}
        self._replies: deque[tuple[float, Mapping[int, int]]] = deque(maxlen=1000)
        self._gathering: asyncio.Task[bool] | None = None
        self._is_full = False

    async def start(self) -> None:
        """Catch up from the store's positions to all that the log holds now.

        Raises `WrongLog` where the log ends before them, `LogUnavailable`, `StoreUnavailable`.
        """
        ends = await self._reader.end_offsets()
        positions = self._store.positions()
        for partition, offset in positions.items():
            if offset > ends.get(partition, 0):
                raise WrongLog(
                    f"the log ends at offset {ends.get(partition, 0)} in partition {partition}, what was "
                    f"made of it at {offset}: see docs/operations.md for what can be done"
                )
        # The last record before each position is read again: it changes nothing, and its append time tells
        # how late it is at least.
        await self._reader.begin({partition: max(0, offset - 1) for partition, offset in positions.items()})
        self._applied = positions
        await self._catch_up()

    async def run(self) -> None:
        """Follow until cancelled. Raises `WrongLog` when the log is not what was followed so far."""
        await run_together(self._follow(), self._ask())

    async def is_caught_up(self) -> bool:
        """Whether all that the log holds now is in the store, which may take a moment."""
        if self._gathering is None:
            self._gathering = asyncio.create_task(self._reach_the_end())
        # Shielded: others wait for the same answer.
        return await asyncio.shield(self._gathering)

    async def _follow(self) -> None:
        while True:
            records = await read_on(self._reader, LIVE_BATCH, "the records of the log")
            while not self._has_applied(records):
                await asyncio.sleep(EXHAUSTION_PAUSE_SECONDS)
            await asyncio.sleep(0)

    async def _ask(self) -> None:
        while True:
            asked_at = self._boottime()
            try:
                ends = await self._reader.end_offsets()
            except LogUnavailable as error:
                logger.warning("the log does not answer where it ends: %s", error)
            else:
                self._reply(asked_at, ends)
            await asyncio.sleep(max(0.0, asked_at + ASK_SECONDS - self._boottime()))

    async def _catch_up(self) -> None:
        asked_at = self._boottime()
        ends = await self._reader.end_offsets()
        while any(self._reader.positions().get(partition, 0) < end for partition, end in ends.items()):
            self._apply(await self._reader.read(LOAD_BATCH))
            await asyncio.sleep(0)
        self._move()
        self._reply(asked_at, ends)

    async def _reach_the_end(self) -> bool:
        await asyncio.sleep(GATHER_SECONDS)
        self._gathering = None  # who comes from here on may ask for a key that is newer than the answer
        asked_at = self._boottime()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                ends = await self._reader.end_offsets(PATIENCE_SECONDS)
                self._reply(asked_at, ends)
                while any(self._applied.get(partition, 0) < end for partition, end in ends.items()):
                    await asyncio.sleep(POLL_SECONDS)
        except (TimeoutError, LogUnavailable):
            return False
        return True

    def _has_applied(self, records: Sequence[Record]) -> bool:
        """Whether there was room for them. The reader does not hand them out again, so none may be lost.

        Until there is, the node gets stale, and its staleness tells.
        """
        try:
            self._apply(records)
        except (MemoryError, StoreUnavailable) as error:
            if not self._is_full:
                logger.critical("%d records wait to be written to the store: %s", len(records), error)
            self._is_full = True
            return False
        if self._is_full:
            logger.info("the store is written again")
        self._is_full = False
        return True

    def _apply(self, records: Sequence[Record]) -> None:
        if not records:
            self._move()
            return
        positions = self._passed()
        now_ms = self._clock.seconds() * 1000
        for record, folded in zip(records, self._writer.apply(records, positions), strict=True):
            self._count(record, folded)
            is_dated = record.timestamp_type == LOG_APPEND_TIME
            if folded.event is not None and is_dated and record.timestamp > now_ms:
                self._follow_time(record, folded.event)
        self._has_moved(positions)

    def _move(self) -> None:
        """Marks of foreign transactions move the reader on without a record."""
        if (positions := self._passed()) != self._applied:
            self._writer.set_positions(positions)
            self._has_moved(positions)

    def _passed(self) -> dict[int, int]:
        """How far the log was read; what is read again after a start was passed before."""
        read = self._reader.positions()
        return {partition: max(offset, self._applied.get(partition, 0)) for partition, offset in read.items()}

    def _has_moved(self, positions: Mapping[int, int]) -> None:
        self._applied = positions
        self._metrics.directory(*self._store.counts())
        self._note_freshness()

    def _follow_time(self, record: Record, event: KeyEvent) -> None:
        """The broker dated the record later than it is here: one of the two clocks is wrong."""
        if not self._clock.follow_log(record.timestamp / 1000, event.time.timestamp()):
            self._metrics.append_time_doubted()

    def _reply(self, asked_at: float, ends: Mapping[int, int]) -> None:
        self._freshness.answered_at(self._boottime())
        self._replies.append((asked_at, ends))
        self._note_freshness()

    def _note_freshness(self) -> None:
        while self._replies:
            asked_at, ends = self._replies[0]
            if any(self._applied.get(partition, 0) < end for partition, end in ends.items()):
                return
            self._freshness.fresh_at(asked_at)
            self._replies.popleft()

    def _count(self, record: Record, folded: Folded) -> None:
        if isinstance(folded.outcome, Applied):
            self._metrics.applied()
        elif isinstance(folded.outcome, Ignored):
            self._metrics.ignored()
        if folded.is_dead_letter:
            self._metrics.unreadable()
            logger.error(
                "%s in %s[%d] at offset %d: %s",
                "unreadable record" if isinstance(folded.outcome, Unreadable) else "lineage parked",
                record.topic,
                record.partition,
                record.offset,
                folded.description,
            )
