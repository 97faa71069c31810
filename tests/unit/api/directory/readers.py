"""Readers of the log that behave as logs sometimes do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from events.errors import LogUnavailable, WrongLog
from events.keys import KeyEvent
from events.log import LogReader, Record
from events.memory_log import MemoryLog
from tests.fakes import UnsteadyReader
from tests.unit.api.workers import TOPIC, append


class DeafReader(UnsteadyReader):
    """Answers where the log ends, and reads nothing until it may speak."""

    def __init__(self, reader: LogReader) -> None:
        super().__init__(reader)
        self.is_waited_for = False
        self.fall_silent()

    async def read(self, max_records: int = 5000, timeout_seconds: float = 1.0) -> Sequence[Record]:
        self.is_waited_for = True
        return await super().read(max_records, timeout_seconds)

    async def end_offsets(self, timeout_seconds: float = 5.0) -> Mapping[int, int]:
        return await self._reader.end_offsets(timeout_seconds)


class GrowingReader(UnsteadyReader):
    """Whenever it has been asked where the log ends, somebody appends the next of these events."""

    def __init__(self, log: MemoryLog, *events: KeyEvent) -> None:
        super().__init__(log.reader(TOPIC))
        self._log = log
        self._events = list(events)

    async def end_offsets(self, timeout_seconds: float = 5.0) -> Mapping[int, int]:
        ends = await super().end_offsets(timeout_seconds)
        if self._events:
            await append(self._log, self._events.pop())
        return ends


class BrokenReader(UnsteadyReader):
    """Finds out that the log is another one than it was."""

    async def read(self, max_records: int = 5000, timeout_seconds: float = 1.0) -> Sequence[Record]:
        raise WrongLog("its head was deleted")


class RefusedReader(UnsteadyReader):
    """Is answered with errors, as often as told."""

    refusals_left = 0

    async def read(self, max_records: int = 5000, timeout_seconds: float = 1.0) -> Sequence[Record]:
        if self.refusals_left:
            self.refusals_left -= 1
            raise LogUnavailable("not authorized")
        return await super().read(max_records, 0.01)


class MarkedReader(UnsteadyReader):
    """Passes the mark of a foreign transaction at the end of a partition: it moves on without a record."""

    has_mark = False

    async def end_offsets(self, timeout_seconds: float = 5.0) -> Mapping[int, int]:
        return self._past_the_mark(await super().end_offsets(timeout_seconds))

    def positions(self) -> Mapping[int, int]:
        return self._past_the_mark(super().positions())

    def _past_the_mark(self, offsets: Mapping[int, int]) -> Mapping[int, int]:
        return {partition: offset + self.has_mark for partition, offset in offsets.items()}
