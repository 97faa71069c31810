"""Follows the lifecycle topic for ever and applies every record to this worker's directory."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from events.clock import Clock, boottime
from events.errors import LogUnavailable, WrongLog
from events.keys import KeyEvent
from events.lifecycle import Folded, Unreadable, fold
from events.lineage import Applied, Ignored
from events.log import LOG_APPEND_TIME, LogReader, Record
from events.together import run_together
from services.api.directory import KeyDirectory
from services.api.metrics import Metrics
from services.api.node import Node
from services.api.tail import read_on

logger = logging.getLogger(__name__)

ASK_SECONDS = 1.0
EXHAUSTION_PAUSE_SECONDS = 0.5
LOAD_BATCH = 5000
#: Some milliseconds: requests are answered between two batches, also while a backlog is applied.
LIVE_BATCH = 50


class Follower:
    """Reads the topic from where a snapshot ends, without a group; resolves the commands that wait."""

    def __init__(
        self,
        reader: LogReader,
        directory: KeyDirectory,
        node: Node,
        metrics: Metrics,
        clock: Clock,
        boottime: Callable[[], float] = boottime,
    ) -> None:
        self._reader = reader
        self._directory = directory
        self._node = node
        self._metrics = metrics
        self._clock = clock
        self._boottime = boottime
        self._applied: dict[int, int] = {}
        self._seat_positions: memoryview | None = None
        self._waiting: dict[str, asyncio.Future[Folded]] = {}
        self._replies: deque[tuple[float, Mapping[int, int]]] = deque(maxlen=1000)
        self._fresh_at = boottime()
        self._answered_at = boottime()

    @property
    def applied(self) -> Mapping[int, int]:
        """The offset after the last record applied, for every partition."""
        return self._applied

    @property
    def staleness_seconds(self) -> float:
        """Age of the newest answer about the topic's end that every partition has reached since."""
        return self._boottime() - self._fresh_at

    @property
    def silence_seconds(self) -> float:
        """Time since the log last answered where it ends."""
        return self._boottime() - self._answered_at

    def expect(self, event_id: str) -> asyncio.Future[Folded]:
        """What becomes of the event with this id, once this worker has met it. Ask before appending it."""
        return self._waiting.setdefault(event_id, asyncio.get_running_loop().create_future())

    def forget(self, event_id: str) -> None:
        """Nobody waits for this event any more."""
        self._waiting.pop(event_id, None)

    async def start(self, positions: Mapping[int, int]) -> None:
        """Catch up from a snapshot's positions, take a seat, and catch up with all that came before that.

        Returns once this worker may answer. Raises `WrongLog` or `LogUnavailable`.
        """
        ends = await self._reader.end_offsets()
        for partition, offset in positions.items():
            if offset > ends.get(partition, 0):
                raise WrongLog(
                    f"the log ends at offset {ends.get(partition, 0)} in partition {partition}, the read "
                    f"models at {offset}: restore the log, or drop the schema `projector` to fill it again"
                )
        # The last record before each position is read again: it changes nothing, and its append time tells
        # how late it is at least.
        await self._reader.begin({partition: max(0, offset - 1) for partition, offset in positions.items()})
        await self._catch_up()
        seat = self._node.enter()
        self._metrics.sit(seat)
        self._seat_positions = seat.positions
        self._publish(self._reader.positions())
        await self._catch_up()

    async def run(self) -> None:
        """Follow until cancelled. Raises `WrongLog` when the log is not what was followed so far."""
        await run_together(self._follow(), self._ask())

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
        positions = self._reader.positions()
        while any(positions.get(partition, 0) < end for partition, end in ends.items()):
            self._apply(await self._reader.read(LOAD_BATCH))
            positions = self._reader.positions()
            await asyncio.sleep(0)
        self._publish(positions)
        self._reply(asked_at, ends)

    def _has_applied(self, records: Sequence[Record]) -> bool:
        """Whether there was memory for them. The reader does not hand them out again, so none may be lost.

        Applying some of them twice changes nothing.
        """
        try:
            self._apply(records)
        except MemoryError:
            logger.exception("out of memory: %d records wait to be applied", len(records))
            return False
        return True

    def _apply(self, records: Sequence[Record]) -> None:
        now_ms = self._clock.seconds() * 1000
        for record in records:
            folded = fold(record, self._directory.lineage)
            if folded.lineage is not None:
                self._directory.put(folded.lineage)
            self._count(record, folded)
            if folded.event is not None:
                self._resolve(folded.event.id, folded)
                if record.timestamp > now_ms and record.timestamp_type == LOG_APPEND_TIME:
                    self._follow_time(record, folded.event)
        # Marks of foreign transactions move the reader on without a record.
        if (positions := self._reader.positions()) != self._applied:
            self._publish(positions)
            self._note_freshness()

    def _follow_time(self, record: Record, event: KeyEvent) -> None:
        """The broker dated the record later than it is here: one of the two clocks is wrong."""
        if not self._clock.follow_log(record.timestamp / 1000, event.time.timestamp()):
            self._metrics.append_time_doubted()

    def _resolve(self, event_id: str, folded: Folded) -> None:
        waiting = self._waiting.pop(event_id, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(folded)

    def _publish(self, positions: Mapping[int, int]) -> None:
        """Tell the other workers of the node how far this one is."""
        self._applied = dict(positions)
        if self._seat_positions is not None:
            for partition, position in positions.items():
                self._seat_positions[partition] = position
        directory = self._directory
        self._metrics.directory(len(directory), directory.parked_count, directory.unverifiable_count)

    def _reply(self, asked_at: float, ends: Mapping[int, int]) -> None:
        self._answered_at = self._boottime()
        self._replies.append((asked_at, ends))
        self._note_freshness()

    def _note_freshness(self) -> None:
        while self._replies:
            asked_at, ends = self._replies[0]
            if any(self._applied.get(partition, 0) < end for partition, end in ends.items()):
                return
            self._fresh_at = asked_at
            self._metrics.fresh_at(asked_at)
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
