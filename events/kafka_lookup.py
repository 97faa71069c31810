"""Single records of the log, by their coordinates."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition  # type: ignore[import-untyped]
from aiokafka.errors import OffsetOutOfRangeError  # type: ignore[import-untyped]

from events.kafka_clients import REQUEST_TIMEOUT_MS, log_unavailable, start
from events.kafka_stopping import stop_consumer
from events.log import Position, Record
from events.settings import KafkaSettings

LOOKUP_SECONDS = 10.0


class KafkaLookup:
    """Finds records one by one; open it with `async with`. It connects when the first one is asked for."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._consumer: AIOKafkaConsumer | None = None
        self._place: TopicPartition | None = None
        self._end = 0

    async def find(self, place: Position) -> Record | None:
        """The record that stands there; None where the log holds none, or not any more.

        Raises `LogUnavailable`.
        """
        with log_unavailable(f"{place.topic}/{place.partition} is not readable"):
            async with asyncio.timeout(LOOKUP_SECONDS):
                consumer = await self._running_consumer()
                return await self._find(consumer, TopicPartition(place.topic, place.partition), place.offset)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._consumer is not None:
            await stop_consumer(self._consumer)

    async def _running_consumer(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = AIOKafkaConsumer(
                **self._settings.client_options(),
                auto_offset_reset="none",
                request_timeout_ms=REQUEST_TIMEOUT_MS,
                fetch_max_wait_ms=100,
            )
            await start(consumer, self._settings)
            self._consumer = consumer
        return self._consumer

    async def _find(self, consumer: AIOKafkaConsumer, place: TopicPartition, offset: int) -> Record | None:
        if place != self._place:
            consumer.assign([place])
            self._place, self._end = place, 0
        consumer.seek(place, offset)
        if offset >= self._end:
            self._end = (await consumer.end_offsets([place]))[place]
        try:
            while offset < self._end and await consumer.position(place) <= offset:
                for records in (await consumer.getmany(timeout_ms=500, max_records=1)).values():
                    found: Record = records[0]
                    return found if found.offset == offset else None
        except OffsetOutOfRangeError:
            return None
        return None
