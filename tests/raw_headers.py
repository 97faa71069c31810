"""Headers whose names are no UTF-8: producers in C can send them, and the broker takes them."""

from __future__ import annotations

from collections.abc import Sequence

from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy  # type: ignore[import-untyped]

from events.kafka_clients import start
from events.kafka_stopping import stop_producer
from events.settings import KafkaSettings

STOP_SECONDS = 5.0
LARGEST_BATCH_BYTES = 16_384


class RawName(str):
    """The name of a header that no encoding gives."""

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"\xff\xfe"


async def append_with_headers(
    kafka: KafkaSettings,
    topic: str,
    partition: int,
    headers: Sequence[tuple[str, bytes]] = ((RawName(), b"1"),),
) -> None:
    """Append one record, `value` under `key`, whose headers may have raw names."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    await start(producer, kafka)
    try:
        await producer.partitions_for(topic)
        batch = producer.create_batch()
        # The builder in C takes nothing but str.
        batch._builder = _DefaultRecordBatchBuilderPy(2, 0, False, -1, -1, -1, LARGEST_BATCH_BYTES)
        batch.append(key=b"key", value=b"value", timestamp=None, headers=list(headers))
        batch.close()
        await (await producer.send_batch(batch, topic, partition=partition))
    finally:
        await stop_producer(producer, STOP_SECONDS)
