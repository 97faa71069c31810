"""Where a consumer group goes on, for groups whose offsets are kept by Kafka."""

from __future__ import annotations

from aiokafka import AIOKafkaConsumer, TopicPartition  # type: ignore[import-untyped]

from events.kafka_clients import REQUEST_TIMEOUT_MS, log_unavailable, running
from events.settings import KafkaSettings


async def rewind_group(kafka: KafkaSettings, group_id: str, topic: str, partition: int, offset: int) -> None:
    """Let the group, which has no members now, go on at this offset. Raises `LogUnavailable`."""
    consumer = AIOKafkaConsumer(
        **kafka.client_options(),
        group_id=group_id,
        enable_auto_commit=False,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
    )
    place = TopicPartition(topic, partition)
    with log_unavailable(f"the group {group_id} was not told to go on at {topic}/{partition}@{offset}"):
        async with running(consumer, kafka):
            consumer.assign([place])
            await consumer.commit({place: offset})
