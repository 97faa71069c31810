"""UsageEmitter: what keys are used for, from any service, into the log: each use once in effect, in order."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import uuid_utils

from events.codec import encode
from events.errors import LogUnavailable, UsageNotDelivered
from events.kafka_log import KafkaEventLog
from events.log import EventLog
from events.settings import KafkaSettings
from events.topics import Topics
from events.usage import KeyUsed, Usage
from events.waiting import wait_for

#: Events that may be on their way at once, never two of a key. More of them carry no more.
LANES = 32

logger = logging.getLogger(__name__)


class UsageEmitter:
    """Emits KeyUsed; open it with `async with`. For one event loop.

    An event that was taken is sent, with the same id and bytes, until the log acknowledges it; those of a
    key in the order in which they were taken. Kafka may be away at any time, at the start too: events wait
    in memory, `capacity` of them at most. One key's events go one by one, at the pace of acknowledgements;
    many keys' beside each other.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topics: Topics,
        *,
        source: str,
        actor: str,
        capacity: int = 10_000,
        close_seconds: float = 10.0,
        log: AbstractAsyncContextManager[EventLog] | None = None,
    ) -> None:
        """Connects nothing yet. `source` and `actor` are those of every event: which service emits.

        Closing waits `close_seconds` for acknowledgements. `log` is another log than Kafka's, for tests.
        """
        self._kafka = kafka
        self._topic = topics.usage.name
        self._source = source
        self._actor = actor
        self._close_seconds = close_seconds
        self._log = log or KafkaEventLog(kafka, client_id="hokusai-auth usage emitter")
        self._lanes: list[asyncio.Queue[tuple[bytes, bytes]]] = [asyncio.Queue() for _ in range(LANES)]
        # A semaphore that can be asked without waiting.
        self._room: asyncio.Queue[None] = asyncio.Queue()
        for _ in range(capacity):
            self._room.put_nowait(None)
        self._repairing = asyncio.Lock()
        self._delivering: asyncio.Task[None] | None = None
        self._sent = 0
        self._unacknowledged = 0

    @property
    def sent(self) -> int:
        """How many events the log has acknowledged."""
        return self._sent

    @property
    def waiting(self) -> int:
        """How many events were taken and not handed over yet."""
        return sum(lane.qsize() for lane in self._lanes)

    @property
    def unacknowledged(self) -> int:
        """How many events were handed over and not answered yet; after a close that gave up or
        was cancelled, those lost.
        """
        return self._unacknowledged

    async def emit(self, usage: Usage, *, id: str | None = None, time: datetime | None = None) -> str:  # noqa: A002
        """Take the event, once there is room for it, and return its id.

        What is emitted again under the same key_id and `id` within 35 days counts once, and is a dead letter
        where it states something else; fresh ids are UUIDv7. `time` is when it was, now unless told.
        Cancelled while it waits for room, nothing was taken. Raises
        `LogUnavailable` when the emitter is not open, pydantic's `ValidationError` for an id that is empty or
        longer than 255 characters, or a time without a zone.
        """
        event = self._event(usage, id, time)
        await asyncio.sleep(0)  # room alone would let a caller's loop keep all others from running
        await self._room.get()
        if self._delivering is None:
            self._room.put_nowait(None)  # for the next in the queue, to be told the same
            raise LogUnavailable("the usage emitter is closed")
        self._take(event)
        return event.id

    def offer(self, usage: Usage, *, id: str | None = None, time: datetime | None = None) -> bool:  # noqa: A002
        """Take the event if there is room for it now, and return whether it was taken. Raises as `emit`."""
        if self._delivering is None:
            raise LogUnavailable("the usage emitter is closed")
        event = self._event(usage, id, time)
        try:
            self._room.get_nowait()
        except asyncio.QueueEmpty:
            return False
        self._take(event)
        return True

    async def __aenter__(self) -> Self:
        """Begin to connect, without waiting for it. Raises `SettingsError`."""
        self._kafka.client_options()
        # Anew: those of a close that gave up would be waited for in the next one.
        self._lanes = [asyncio.Queue() for _ in range(LANES)]
        self._unacknowledged = 0
        self._delivering = asyncio.create_task(self._deliver())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for all acknowledgements. Raises `UsageNotDelivered` when the time for it is over.

        An error that ends the `async with` is more important: then the loss is only logged, and so it is
        when closing is cancelled, however often. Leaving a Kafka that is away takes up to 5 s more.
        """
        delivering, self._delivering = self._delivering, None
        assert delivering is not None
        try:
            try:
                await self._flush()
            finally:
                delivering.cancel()
                await asyncio.wait({delivering})
        except asyncio.CancelledError:
            self._give_up()
            if self._unacknowledged:
                lost = self._unacknowledged
                logger.error("%d usage events were not acknowledged: closing was cancelled", lost)  # noqa: TRY400
            raise
        self._give_up()
        if self._unacknowledged:
            loss = UsageNotDelivered(self._unacknowledged, self._close_seconds)
            if error is None:
                raise loss
            logger.error("%s", loss)

    def _event(self, usage: Usage, event_id: str | None, time: datetime | None) -> KeyUsed:
        return KeyUsed(
            id=str(uuid_utils.uuid7()) if event_id is None else event_id,
            source=self._source,
            subject=usage.key_id,
            time=time or datetime.now(UTC),
            partitionkey=usage.key_id,
            actor=self._actor,
            data=usage,
        )

    def _take(self, event: KeyUsed) -> None:
        key = event.data.key_id.encode()
        self._lanes[hash(key) % LANES].put_nowait((key, encode(event)))

    async def _deliver(self) -> None:
        async with AsyncExitStack() as opened:
            log = await wait_for(
                f"Kafka at {self._kafka.bootstrap_servers}",
                lambda: opened.enter_async_context(self._log),
                (Exception,),
            )
            async with asyncio.TaskGroup() as lanes:
                for lane in self._lanes:
                    lanes.create_task(self._deliver_in_turn(lane, log))

    async def _deliver_in_turn(self, lane: asyncio.Queue[tuple[bytes, bytes]], log: EventLog) -> None:
        while True:
            key, value = await lane.get()
            self._unacknowledged += 1
            await self._append(log, key, value)
            self._unacknowledged -= 1
            self._sent += 1
            self._room.put_nowait(None)
            lane.task_done()

    async def _append(self, log: EventLog, key: bytes, value: bytes) -> None:
        # What was taken is not given up for any error: another one may be what an outage looks like.
        try:
            await log.append(self._topic, key, value)
        except Exception:
            async with self._repairing:  # one lane tries, and says so; the others follow when it is through
                await wait_for(
                    f"{self._topic} at {self._kafka.bootstrap_servers}",
                    lambda: log.append(self._topic, key, value),
                    (Exception,),
                )

    async def _flush(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._close_seconds):
                for lane in self._lanes:
                    await lane.join()

    def _give_up(self) -> None:
        """Count what is left as lost, and let those who wait for room find the emitter closed."""
        for lane in self._lanes:
            while not lane.empty():
                lane.get_nowait()
                self._unacknowledged += 1
        for _ in range(self._unacknowledged):
            self._room.put_nowait(None)
