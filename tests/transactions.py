"""A foreign producer's transactions in keys.usage: committed, aborted, or left open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]

from events.codec import encode
from events.settings import KafkaSettings
from events.topics import Topic
from events.usage import KeyUsed


class ForeignProducer:
    """Appends uses in transactions, as an emitter of another platform may."""

    def __init__(self, producer: AIOKafkaProducer, topic: Topic) -> None:
        self._producer = producer
        self._topic = topic.name

    async def begin(self, uses: Iterable[KeyUsed]) -> None:
        """Append the uses in a transaction that stays open; returns once the broker has them."""
        await self._producer.begin_transaction()
        for use in uses:
            await self._producer.send_and_wait(self._topic, encode(use), use.data.key_id.encode())

    async def commit(self) -> None:
        await self._producer.commit_transaction()

    async def abort(self) -> None:
        await self._producer.abort_transaction()


@asynccontextmanager
async def foreign_producer(
    kafka: KafkaSettings, topic: Topic, transactional_id: str
) -> AsyncIterator[ForeignProducer]:
    """A producer with that transactional id; who opens it again ends what its last transaction left open."""
    producer = AIOKafkaProducer(
        **kafka.client_options(), transactional_id=transactional_id, transaction_timeout_ms=600_000
    )
    await producer.start()
    try:
        yield ForeignProducer(producer, topic)
    finally:
        await producer.stop()
