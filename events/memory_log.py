"""The ports of the log in memory: for tests, and for whoever wants to try things without Kafka."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence

from aiokafka.partitioner import DefaultPartitioner  # type: ignore[import-untyped]

from events.errors import WrongLog
from events.log import LOG_APPEND_TIME, KeyAndValue, Mark, PlainRecord, Position
from events.log_marks import mark_of
from events.topics import PARTITIONS, Topic


class MemoryLog:
    """`BulkLog` in memory, for one event loop. Topics come into being when they are first named."""

    def __init__(
        self,
        partitions: int = PARTITIONS,
        seconds: Callable[[], float] = time.time,
        timestamp_type: int = LOG_APPEND_TIME,
    ) -> None:
        self._seconds = seconds
        self._timestamp_type = timestamp_type
        self._partitioner = DefaultPartitioner()
        self._partitions = list(range(partitions))
        self._records: dict[str, list[list[PlainRecord]]] = defaultdict(
            lambda: [[] for _ in self._partitions]
        )
        self._appended = asyncio.Condition()

    async def append(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Position:
        """See `EventLog.append`; the partition of a key is the one it has in Kafka."""
        partition: int = self._partitioner(key, self._partitions, self._partitions)
        async with self._appended:
            records = self._records[topic][partition]
            offset, timestamp_ms = len(records), int(self._seconds() * 1000)
            records.append(
                PlainRecord(
                    topic, partition, offset, timestamp_ms, key, value, tuple(headers), self._timestamp_type
                )
            )
            self._appended.notify_all()
        is_broker_time = self._timestamp_type == LOG_APPEND_TIME
        return Position(topic, partition, offset, timestamp_ms if is_broker_time else None)

    async def append_all(self, topic: str, records: Sequence[KeyAndValue]) -> Sequence[Position]:
        """See `BulkLog.append_all`."""
        return [await self.append(topic, key, value) for key, value in records]

    def reader(self, topic: Topic) -> MemoryLogReader:
        """A reader of one topic. Raises `WrongLog` when it has another number of partitions here."""
        if topic.partitions != len(self._partitions):
            raise WrongLog(f"{topic.name} has {len(self._partitions)} partitions, not {topic.partitions}")
        return MemoryLogReader(self._records[topic.name], self._appended)


class MemoryLogReader:
    """`LogReader` in memory."""

    def __init__(self, partitions: Sequence[Sequence[PlainRecord]], appended: asyncio.Condition) -> None:
        self._partitions = partitions
        self._appended = appended
        self._positions: dict[int, int] = {}

    async def begin(self, positions: Mapping[int, int]) -> None:
        """See `LogReader.begin`."""
        ends = await self.end_offsets()
        for partition, offset in positions.items():
            if not 0 <= offset <= ends.get(partition, -1):
                raise WrongLog(f"partition {partition} does not hold offset {offset}")
        self._positions = {partition: positions.get(partition, 0) for partition in ends}

    async def read(self, max_records: int = 5000, timeout_seconds: float = 1.0) -> Sequence[PlainRecord]:
        """See `LogReader.read`."""
        try:
            async with asyncio.timeout(timeout_seconds), self._appended:
                await self._appended.wait_for(self._has_more)
        except TimeoutError:
            return []
        return self._take(max_records)

    async def end_offsets(self, timeout_seconds: float = 5.0) -> Mapping[int, int]:
        """See `LogReader.end_offsets`."""
        return {partition: len(records) for partition, records in enumerate(self._partitions)}

    async def offsets_at(self, milliseconds: int) -> Mapping[int, int]:
        """See `LogReader.offsets_at`."""
        return {
            partition: next((one.offset for one in records if one.timestamp >= milliseconds), len(records))
            for partition, records in enumerate(self._partitions)
        }

    async def lost(self, marks: Collection[Mark]) -> Sequence[Mark]:
        """See `LogReader.lost`."""
        return sorted(mark for mark in marks if not self._holds(mark))

    def positions(self) -> Mapping[int, int]:
        """See `LogReader.positions`."""
        return dict(self._positions)

    def _holds(self, mark: Mark) -> bool:
        records = self._partitions[mark.partition]
        return mark.offset < len(records) and mark_of(records[mark.offset]) == mark

    def _has_more(self) -> bool:
        return any(len(self._partitions[partition]) > offset for partition, offset in self._positions.items())

    def _take(self, max_records: int) -> list[PlainRecord]:
        taken: list[PlainRecord] = []
        for partition, offset in self._positions.items():
            records = self._partitions[partition][offset : offset + max_records - len(taken)]
            self._positions[partition] += len(records)
            taken.extend(records)
        return taken
