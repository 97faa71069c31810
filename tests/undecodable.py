"""Appends what no client of Kafka should be able to send: a header whose name is no UTF-8."""

from __future__ import annotations

from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]
from aiokafka.record._crc32c import crc  # type: ignore[import-untyped]

from events.kafka_clients import start, stop_producer
from events.settings import KafkaSettings

STOP_SECONDS = 5.0


def with_a_bad_header(batch: bytes) -> bytes:
    """An unpacked record batch with its header `NAME` renamed, and the right checksum."""
    spoiled = bytearray(batch.replace(b"NAME", b"\xff\xfe\xff\xfe"))
    spoiled[17:21] = crc(bytes(spoiled[21:])).to_bytes(4, "big")
    return bytes(spoiled)


async def append_undecodable(kafka: KafkaSettings, topic: str, partition: int) -> None:
    """One record that aiokafka cannot decode, though its checksum is right."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    await start(producer, kafka)
    try:
        await producer.partitions_for(topic)
        batch = producer.create_batch()
        batch.append(key=b"key", value=b"value", timestamp=None, headers=[("NAME", b"v")])
        batch.close()
        batch._buffer = bytearray(with_a_bad_header(bytes(batch._build())))
        await (await producer.send_batch(batch, topic, partition=partition))
    finally:
        await stop_producer(producer, STOP_SECONDS)
