"""What others compress is read by every process, whatever they have chosen."""

from __future__ import annotations

import asyncio
from functools import partial

from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]

from events.codec import encode
from tests.acceptance.client import Created
from tests.acceptance.eventually import eventually
from tests.acceptance.stack import ApiNode, Stack
from tests.builders import some_usage

CODECS = ["gzip", "snappy", "lz4", "zstd"]


def test_compressed_changes_and_uses_are_applied(stack: Stack) -> None:
    """The change is read by the api and the projector, the use by the projector, and its sums by billing."""
    stack.projector()
    stack.billing()
    stack.windows()
    api = stack.api()
    keys = {codec: api.client.new_key() for codec in CODECS}
    for codec, key in keys.items():
        record_key = key.key_id.encode()
        use = encode(some_usage(key_id=key.key_id, predictions_count=7))
        # What is no event closes the lineage, in every reader.
        records = [
            (stack.topics.usage.name, record_key, use),
            (stack.topics.lifecycle.name, record_key, b"x"),
        ]
        asyncio.run(append_compressed(stack, codec, records))

    for codec, key in keys.items():
        eventually(partial(is_refused, api, key), 30, f"the api to read {codec}")
        eventually(partial(is_billed, api, key), 30, f"the projector and billing to read {codec}")


def is_refused(api: ApiNode, key: Created) -> bool:
    return not api.client.accepts(key.api_key)


def is_billed(api: ApiNode, key: Created) -> bool:
    stats, bill = api.client.stats(key.key_id), api.client.billing(key.key_id)
    if not stats.status_code == bill.status_code == 200:
        return False
    billed: bool = stats.json()["total_predictions"] == bill.json()["current_usage"]["predictions"] == 7
    return billed


async def append_compressed(stack: Stack, codec: str, records: list[tuple[str, bytes, bytes]]) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=stack.kafka.bootstrap_servers, compression_type=codec, acks="all"
    )
    await producer.start()
    try:
        for topic, key, value in records:
            await producer.send_and_wait(topic, value, key)
    finally:
        await producer.stop()
