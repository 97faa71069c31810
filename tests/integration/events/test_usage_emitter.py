"""UsageEmitter while its broker is paused, killed or not there."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import psutil
import pytest

from events.codec import decode
from events.emitter import UsageEmitter
from events.errors import UsageNotDelivered
from events.kafka_log import KafkaEventLog
from events.settings import KafkaSettings
from events.topics import Topics
from events.usage import KeyUsed
from services.local.kafka import EmbeddedKafka
from tests.builders import fresh_id, some_usage
from tests.integration.events.kafka_surgery import paused
from tests.log_records import everything

pytestmark = pytest.mark.anyio

OUTAGE_SECONDS = 6
#: Shorter than the outages, so that appends fail, and are tried again.
APPEND_SECONDS = 5
EVENTS_PER_SECOND = 1000
CAPACITY = 10_000
BEAT_SECONDS = 0.01
#: The driver's own work, a busy machine and Java starting beside it: a blocked loop takes seconds.
LONGEST_GAP_SECONDS = 0.5
MOST_MEMORY_BYTES = 40_000_000


@dataclass
class Service:
    """A service with an event loop of its own to care for, that emits steadily: what it saw."""

    emitter: UsageEmitter
    taken: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    longest_gap_seconds: float = 0.0
    most_waiting: int = 0
    most_memory_bytes: int = 0

    @property
    def count(self) -> int:
        return sum(len(ids) for ids in self.taken.values())

    async def emit_steadily(self, stop: asyncio.Event) -> None:
        """As many events as are due, one key after the other; late ones at once when there is room again."""
        keys, began, number = [fresh_id() for _ in range(200)], time.monotonic(), 0
        while not stop.is_set():
            while number < (time.monotonic() - began) * EVENTS_PER_SECOND and not stop.is_set():
                key = keys[number % len(keys)]
                self.taken[key].append(await self.emitter.emit(some_usage(key_id=key).data))
                number += 1
            await asyncio.sleep(BEAT_SECONDS)

    async def beat(self) -> None:
        process = psutil.Process()
        began_bytes, last = process.memory_info().rss, time.monotonic()
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            now = time.monotonic()
            self.longest_gap_seconds = max(self.longest_gap_seconds, now - last - BEAT_SECONDS)
            self.most_waiting = max(self.most_waiting, self.emitter.waiting + self.emitter.unacknowledged)
            self.most_memory_bytes = max(self.most_memory_bytes, process.memory_info().rss - began_bytes)
            last = now


async def test_a_broker_that_is_paused_and_killed_loses_nothing_that_was_taken(
    shaken_kafka: EmbeddedKafka, shaken_settings: KafkaSettings, shaken_topics: Topics
) -> None:
    """Each key's events stay in order, memory is bounded, and the service's event loop goes on."""
    log = KafkaEventLog(shaken_settings, timeout_seconds=APPEND_SECONDS)
    async with (
        UsageEmitter(shaken_settings, shaken_topics, source="urn:test", actor="test", log=log) as emitter,
        working(Service(emitter)) as service,
    ):
        await until(lambda: emitter.sent > EVENTS_PER_SECOND)
        with paused(shaken_kafka):
            await asyncio.sleep(OUTAGE_SECONDS)
        taken = service.count
        await until(lambda: emitter.sent > taken + EVENTS_PER_SECOND)
        await asyncio.to_thread(shaken_kafka.kill)
        await asyncio.sleep(OUTAGE_SECONDS)
        taken = service.count
        await asyncio.to_thread(shaken_kafka.start)
        await until(lambda: emitter.sent > taken + EVENTS_PER_SECOND)
    assert (emitter.sent, emitter.waiting, emitter.unacknowledged) == (service.count, 0, 0)
    assert await arrived(shaken_settings, shaken_topics) == service.taken
    assert service.most_waiting == CAPACITY
    assert service.most_memory_bytes < MOST_MEMORY_BYTES
    assert service.longest_gap_seconds < LONGEST_GAP_SECONDS


async def test_a_broker_that_is_not_there_is_waited_for_and_a_loss_is_told(
    shaken_kafka: EmbeddedKafka, shaken_settings: KafkaSettings, shaken_topics: Topics
) -> None:
    def emitter(close_seconds: float) -> UsageEmitter:
        return UsageEmitter(
            shaken_settings, shaken_topics, source="urn:test", actor="test", close_seconds=close_seconds
        )

    async def emit_ten(emitter: UsageEmitter) -> list[str]:
        async with emitter:
            return [await emitter.emit(usage) for _ in range(10)]

    usage = some_usage().data
    await asyncio.to_thread(shaken_kafka.kill)
    try:
        with pytest.raises(UsageNotDelivered) as loss:
            await emit_ten(emitter(close_seconds=0.5))
        assert loss.value.count == 10
        patient = asyncio.create_task(emit_ten(emitter(close_seconds=60.0)))
        await asyncio.sleep(0)
    finally:
        await asyncio.to_thread(shaken_kafka.start)
    taken = await patient
    assert await arrived(shaken_settings, shaken_topics) == {usage.key_id: taken}


@asynccontextmanager
async def working(service: Service) -> AsyncIterator[Service]:
    """It emits, and its heart beats, until the end."""
    stop = asyncio.Event()
    beating = asyncio.create_task(service.beat())
    emitting = asyncio.create_task(service.emit_steadily(stop))
    try:
        yield service
    finally:
        stop.set()
        await emitting
        beating.cancel()


async def arrived(kafka: KafkaSettings, topics: Topics) -> dict[str, list[str]]:
    """The ids of each key's events in the order in which they first came."""
    ids: dict[str, dict[str, None]] = defaultdict(dict)
    for record in await everything(kafka, topics.usage):
        event = decode(record.value)
        assert isinstance(event, KeyUsed)
        ids[event.data.key_id][event.id] = None
    return {key: list(first) for key, first in ids.items()}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(BEAT_SECONDS)
