"""Does the log still hold, at their offsets, the records that were read from it?"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition  # type: ignore[import-untyped]
from aiokafka.errors import OffsetOutOfRangeError  # type: ignore[import-untyped]

from events.kafka_clients import REQUEST_TIMEOUT_MS, log_unavailable, running
from events.log import Mark
from events.log_marks import mark_of
from events.settings import KafkaSettings

#: Of each partition, to read one record. A larger batch comes all the same, one a request.
FETCH_BYTES = 32 * 1024
COMPARE_TIMEOUT_SECONDS = 30.0
#: A leader that has just begun may not know yet how much of its log is agreed on: it names a lower end.
LEADER_SETTLES_SECONDS = 2.0


async def lost_marks(
    kafka: KafkaSettings,
    marks: Collection[Mark],
    compacted: Collection[str] = (),
    settles_seconds: float = LEADER_SETTLES_SECONDS,
) -> Sequence[Mark]:
    """Those whose offset holds another record by now, or lies beyond the log's end; sorted.

    Nothing is said about marks before the log's first record, nor about records that compaction has dropped
    from the topics named in `compacted`. Connects for itself. Raises `LogUnavailable`.
    """
    if not marks:
        return []
    with log_unavailable("the log was not compared with what was read from it before"):
        async with asyncio.timeout(COMPARE_TIMEOUT_SECONDS), running(consumer := _consumer(kafka), kafka):
            lost = await _Comparison(consumer, marks, compacted).lost()
            if lost:
                await asyncio.sleep(settles_seconds)
                lost = await _Comparison(consumer, lost, compacted).lost()
    return sorted(lost)


class _Comparison:
    """One look at each of some marks, those of different partitions at once."""

    def __init__(self, consumer: AIOKafkaConsumer, marks: Iterable[Mark], compacted: Collection[str]) -> None:
        self._consumer = consumer
        self._compacted = compacted
        self._lost: list[Mark] = []
        #: Of each partition those still to be looked at, the lowest last.
        self._waiting: dict[TopicPartition, list[Mark]] = {}
        for mark in sorted(marks, reverse=True):
            self._waiting.setdefault(TopicPartition(mark.topic, mark.partition), []).append(mark)

    async def lost(self) -> list[Mark]:
        places = list(self._waiting)
        self._consumer.assign(places)
        for place in places:  # before anything is awaited, or the consumer looks for positions by itself
            self._consumer.seek(place, self._waiting[place][-1].offset)
        self._consumer.pause(*places)
        self._leave_out(
            await self._consumer.beginning_offsets(places), await self._consumer.end_offsets(places)
        )
        for place in places:
            self._go_on(place)
        while self._waiting:
            try:
                fetched = await self._consumer.getmany(timeout_ms=200, max_records=len(places))
            except OffsetOutOfRangeError as error:  # it was cut since we asked where it ends
                for place in error.args[0]:
                    self._lost.append(self._waiting[place].pop())
                    self._go_on(place)
                continue
            for place in list(self._waiting):
                await self._look(place, fetched.get(place, ()))
        return self._lost

    def _leave_out(self, firsts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]) -> None:
        """Marks that need no look at a record."""
        for place, marks in self._waiting.items():
            self._lost += [mark for mark in marks if mark.offset >= ends[place]]
            marks[:] = [mark for mark in marks if firsts[place] <= mark.offset < ends[place]]

    def _go_on(self, place: TopicPartition) -> None:
        """Fetch the partition's next mark."""
        if marks := self._waiting[place]:
            self._consumer.seek(place, marks[-1].offset)
            self._consumer.resume(place)
        else:
            self._consumer.pause(place)
            del self._waiting[place]

    async def _look(self, place: TopicPartition, records: Sequence[Any]) -> None:
        mark = self._waiting[place][-1]
        if not records and await self._consumer.position(place) <= mark.offset:
            return  # nothing came yet
        if not records or records[0].offset != mark.offset:
            is_same = place.topic in self._compacted  # else a transaction's marker stands there
        else:
            is_same = mark_of(records[0]) == mark
        if not is_same:
            self._lost.append(mark)
        self._waiting[place].pop()
        self._go_on(place)


def _consumer(kafka: KafkaSettings) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        **kafka.client_options(),
        auto_offset_reset="none",
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        fetch_max_wait_ms=100,
        max_partition_fetch_bytes=FETCH_BYTES,
    )
