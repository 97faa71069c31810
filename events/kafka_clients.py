"""Clients of Kafka: started within a deadline, closed whatever happens, their errors told in our words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Protocol

from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]
from aiokafka.admin import AIOKafkaAdminClient  # type: ignore[import-untyped]
from aiokafka.errors import (  # type: ignore[import-untyped]
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)

from events.errors import LogUnavailable, RecordRefused
from events.kafka_client_logs import restrain_client_logs
from events.kafka_decompression import bound_unpacking
from events.settings import KafkaSettings

#: Longer than an election or a restart of a broker takes; a broker that is silent for so long is left.
REQUEST_TIMEOUT_MS = 10_000

_REFUSALS = (MessageSizeTooLargeError, RecordListTooLargeError)


class Client(Protocol):
    """What aiokafka's producer and consumer have in common."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...


@asynccontextmanager
async def administration(kafka: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client that describes and creates topics. Raises `LogUnavailable` when it cannot connect."""
    restrain_client_logs()
    admin = AIOKafkaAdminClient(**kafka.client_options(), request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        with log_unavailable(f"no connection to {kafka.bootstrap_servers}"):
            await admin.start()
        yield admin
    finally:
        await admin.close()


@asynccontextmanager
async def running(client: Client, kafka: KafkaSettings) -> AsyncIterator[None]:
    """Start a client and stop it in the end. Raises `LogUnavailable` when it cannot connect."""
    await start(client, kafka)
    try:
        yield
    finally:
        await client.stop()


async def start(client: Client, kafka: KafkaSettings) -> None:
    """Start a client. Raises `LogUnavailable`, with nothing left open, when it cannot connect in time."""
    restrain_client_logs()
    bound_unpacking()
    try:
        with log_unavailable(f"no connection to {kafka.bootstrap_servers}"):
            async with asyncio.timeout(REQUEST_TIMEOUT_MS / 1000):
                await client.start()
    except BaseException:
        await client.stop()
        raise


async def stop_producer(producer: AIOKafkaProducer, patience_seconds: float) -> None:
    """Wait so long for the acknowledgements of what was sent, then give it up; close in any case."""
    # aiokafka's own stop() waits for ever for a broker that is away, and cannot be cancelled half-way.
    stopping = asyncio.create_task(producer.stop())
    done, _ = await asyncio.wait({stopping}, timeout=patience_seconds)
    if not done:
        await _give_up(producer)
    await stopping


@contextmanager
def log_unavailable(what: str) -> Iterator[None]:
    """Tell errors of the driver, and deadlines, as `LogUnavailable`: `what`, then the reason.

    Where Kafka takes no such record, however often it is sent: `RecordRefused`.
    """
    try:
        yield
    except _REFUSALS as error:
        raise RecordRefused(f"{what}: {error}") from error
    except TimeoutError as error:
        raise LogUnavailable(f"{what}: no answer in time") from error
    except (KafkaError, OSError) as error:
        raise LogUnavailable(f"{what}: {error}") from error


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
