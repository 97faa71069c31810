"""How clients of Kafka are stopped: within their time, and completely, whatever state they are in."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer  # type: ignore[import-untyped]

STOP_AGAIN_SECONDS = 0.5
#: How long a producer waits for the acknowledgements of what it has sent; a service has 10 s to end.
FLUSH_SECONDS = 5.0


async def stop_client(client: AIOKafkaConsumer | AIOKafkaProducer) -> None:
    """Stop a consumer or a producer, whether it has started or not."""
    if isinstance(client, AIOKafkaConsumer):
        await stop_consumer(client)
    else:
        await stop_producer(client)


async def stop_consumer(consumer: AIOKafkaConsumer) -> None:
    """Leave the group, end all requests and close all connections."""
    stopping = asyncio.create_task(consumer.stop())
    while not (await asyncio.wait({stopping}, timeout=STOP_AGAIN_SECONDS))[0]:
        # aiokafka loses the cancellation that stop() sends its fetcher, and waits for it for ever, where the
        # fetcher is just then cancelling its requests because of a new assignment.
        if consumer._fetcher is not None:
            consumer._fetcher._fetch_task.cancel()
    if stopping.cancelled() or stopping.exception() is not None:
        # aiokafka raises once more what has ended its fetching, or the cancellation of a request that has
        # failed and was about to be repeated, before it has closed all.
        await _end_requests(consumer)
        await consumer._client.close()


async def stop_producer(producer: AIOKafkaProducer, patience_seconds: float = FLUSH_SECONDS) -> None:
    """Wait so long for the acknowledgements of what was sent, then give it up; close in any case."""
    # aiokafka's own stop() waits for ever for a broker that is away, and cannot be cancelled half-way.
    stopping = asyncio.create_task(producer.stop())
    done, _ = await asyncio.wait({stopping}, timeout=patience_seconds)
    if not done:
        await _give_up(producer)
    await stopping


async def _end_requests(consumer: AIOKafkaConsumer) -> None:
    fetcher = consumer._fetcher
    tasks = set() if fetcher is None else {fetcher._fetch_task, *fetcher._pending_tasks}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


async def _give_up(producer: AIOKafkaProducer) -> None:
    sender = producer._sender
    for task in asyncio.all_tasks():
        frame: Any = getattr(task.get_coro(), "cr_frame", None)
        is_sending = frame is not None and frame.f_code is sender._send_produce_req.__func__.__code__
        if is_sending and frame.f_locals["self"] is sender:
            task.cancel()
    sender.sender_task.cancel()
    await asyncio.wait({sender.sender_task})
    accumulator = producer._message_accumulator
    waiting = [batch for batches in accumulator._batches.values() for batch in batches]
    for batch in [*waiting, *accumulator._pending_batches]:
        batch.drain_ready()
        batch.done_noack()
