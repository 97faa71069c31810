"""Clients of Kafka: started within a deadline, closed whatever happens, their errors told in our words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer  # type: ignore[import-untyped]
from aiokafka.admin import AIOKafkaAdminClient  # type: ignore[import-untyped]
from aiokafka.errors import (  # type: ignore[import-untyped]
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)

from events.errors import LogUnavailable, RecordRefused
from events.kafka_client_logs import restrain_client_logs
from events.kafka_decompression import bound_unpacking
from events.kafka_stopping import stop_client
from events.settings import KafkaSettings

#: Longer than an election or a restart of a broker takes; a broker that is silent for so long is left.
REQUEST_TIMEOUT_MS = 10_000

_REFUSALS = (MessageSizeTooLargeError, RecordListTooLargeError)


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
async def running(client: AIOKafkaConsumer | AIOKafkaProducer, kafka: KafkaSettings) -> AsyncIterator[None]:
    """Start a client and stop it in the end. Raises `LogUnavailable` when it cannot connect."""
    await start(client, kafka)
    try:
        yield
    finally:
        await stop_client(client)


async def start(client: AIOKafkaConsumer | AIOKafkaProducer, kafka: KafkaSettings) -> None:
    """Start a client. Raises `LogUnavailable`, with nothing left open, when it cannot connect in time."""
    restrain_client_logs()
    bound_unpacking()
    try:
        with log_unavailable(f"no connection to {kafka.bootstrap_servers}"):
            async with asyncio.timeout(REQUEST_TIMEOUT_MS / 1000):
                await client.start()
    except BaseException:
        await stop_client(client)
        raise


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
