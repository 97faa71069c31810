"""The ports of the log over Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from itertools import chain
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition  # type: ignore[import-untyped]
from aiokafka.errors import (  # type: ignore[import-untyped]
    KafkaError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
)

from events.errors import LogUnavailable, WrongLog
from events.kafka_clients import REQUEST_TIMEOUT_MS, log_unavailable, start
from events.kafka_cluster import find
from events.kafka_leader_epochs import leader_epochs
from events.kafka_marks import lost_marks
from events.kafka_stopping import stop_consumer, stop_producer
from events.log import LOG_APPEND_TIME, KeyAndValue, Mark, Position, Record
from events.log_marks import mark_of
from events.read_trail import ReadTrail
from events.settings import KafkaSettings
from events.topic_differences import topic_differences
from events.topics import Topic

OFFSETS_TIMEOUT_SECONDS = 5.0

_REPAIR = "see docs/operations.md for what can be done"


class KafkaEventLog:
    """`BulkLog` over an idempotent producer; open it with `async with`, which raises `LogUnavailable`.

    With `is_patient` opening waits for nothing and raises nothing: it connects when a record is appended.

    A call that is cancelled, or out of time, leaves a record that was handed over on its way. While
    Kafka is away about 16 kB of records a partition are handed over; later calls wait for room, and
    leave nothing behind when they end.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        client_id: str = "hokusai-auth",
        timeout_seconds: float = 30.0,
        *,
        is_patient: bool = False,
    ) -> None:
        self._settings = settings
        self._client_id = client_id
        self._timeout_seconds = timeout_seconds
        self._is_patient = is_patient
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._retired: set[asyncio.Task[None]] = set()
        self._is_open = False

    async def append(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
        *,
        partition: int | None = None,
    ) -> Position:
        """See `EventLog.append`. The log's own deadline is `timeout_seconds`.

        `partition` is for a record that belongs beside another one, whatever its key says.
        """
        with log_unavailable(f"{topic}: not acknowledged"):
            async with asyncio.timeout(self._timeout_seconds):
                producer = await self._running_producer()
                delivery = await producer.send(topic, value, key, partition, headers=list(headers))
                delivery.add_done_callback(partial(self._retire_after_failure, producer))
                stored = await asyncio.shield(delivery)
        return _position(topic, stored)

    async def append_all(self, topic: str, records: Sequence[KeyAndValue]) -> Sequence[Position]:
        """See `BulkLog.append_all`. The deadline is `timeout_seconds` for all of them together."""
        if not records:
            return []
        deliveries: list[asyncio.Future[Any]] = []
        with log_unavailable(f"{topic}: not all acknowledged"):
            async with asyncio.timeout(self._timeout_seconds):
                producer = await self._running_producer()
                for key, value in records:
                    delivery = await producer.send(topic, value, key)
                    delivery.add_done_callback(partial(self._retire_after_failure, producer))
                    deliveries.append(delivery)
                # Whoever gives up waiting here leaves them on their way, as behind the shield above.
                await asyncio.wait(deliveries)
            return [_position(topic, delivery.result()) for delivery in deliveries]

    async def __aenter__(self) -> Self:
        self._is_open = True
        if not self._is_patient:
            await self._running_producer()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        if self._producer is not None:
            self._retire(self._producer)
        await asyncio.gather(*self._retired)

    async def _running_producer(self) -> AIOKafkaProducer:
        if not self._is_open:
            raise LogUnavailable("the log is closed")
        if self._producer is not None and self._producer._sender.sender_task.done():
            self._retire(self._producer)
        if self._producer is None:
            async with self._starting:
                if self._producer is None:
                    self._producer = await self._new_producer()
        return self._producer

    async def _new_producer(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **self._settings.client_options(),
            client_id=self._client_id,
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )
        await start(producer, self._settings)
        if self._is_open:
            return producer
        await stop_producer(producer)
        raise LogUnavailable("the log was closed")

    def _retire_after_failure(self, producer: AIOKafkaProducer, delivery: asyncio.Future[Any]) -> None:
        # aiokafka has given the failed batch a sequence number that the broker never saw: it would refuse
        # every later batch of that partition as out of order, for ever.
        if not delivery.cancelled() and delivery.exception() is not None:
            self._retire(producer)

    def _retire(self, producer: AIOKafkaProducer) -> None:
        if producer is self._producer:
            self._producer = None
            stopping = asyncio.create_task(stop_producer(producer))
            self._retired.add(stopping)
            stopping.add_done_callback(self._retired.discard)


class KafkaLogReader:
    """`LogReader` over a consumer without a group; open it with `async with`: raises `LogUnavailable`."""

    _consumer: AIOKafkaConsumer

    def __init__(self, settings: KafkaSettings, topic: Topic) -> None:
        self._settings = settings
        self._topic = topic
        self._places = [TopicPartition(topic.name, partition) for partition in range(topic.partitions)]
        self._positions: dict[int, int] = {}
        self._compacted = {topic.name} if topic.configuration.get("cleanup.policy") == "compact" else set()
        self._trail = ReadTrail(self.lost, self._epochs)
        self._watching: asyncio.Task[None] | None = None

    async def begin(self, positions: Mapping[int, int]) -> None:
        """See `LogReader.begin`. Raises `WrongLog` also when the topic has another number of partitions."""
        await self._check_partitions()
        firsts, ends = await self._offsets("beginning_offsets"), await self._offsets("end_offsets")
        wanted = {place.partition: 0 for place in self._places} | dict(positions)
        for partition, offset in wanted.items():
            first, end = firsts.get(partition, 0), ends.get(partition, -1)
            if not first <= offset <= end:
                raise WrongLog(
                    f"{self._topic.name}/{partition} holds offsets {first} to {end}, and the reader wants to "
                    f"go on at {offset}: {_REPAIR}"
                )
        self._trail.begin()
        self._consumer.assign(self._places)
        self._seek(wanted)  # before anything is awaited, or the consumer looks for positions by itself

    async def read(self, max_records: int = 5000, timeout_seconds: float = 1.0) -> Sequence[Record]:
        """See `LogReader.read`. Raises `WrongLog` when the log has lost what comes next, or what was read.

        Raises `LogUnavailable` when Kafka answers with something that is no record; nothing is skipped.
        """
        self._trail.raise_if_lost()
        if self._watching is not None and self._watching.done():
            self._watching.result()  # it goes on for ever, so this raises what has ended it
        if self._consumer._fetcher.error_future.done():
            await self._reopen()
        try:
            batches = await self._consumer.getmany(
                timeout_ms=int(timeout_seconds * 1000), max_records=max_records
            )
        except OffsetOutOfRangeError as error:
            lost = ", ".join(f"{place.topic}/{place.partition}@{at}" for place, at in error.args[0].items())
            raise WrongLog(f"{lost} comes next and is not in the log any more: {_REPAIR}") from None
        except TopicAuthorizationFailedError as error:
            self._seek(self._positions)
            raise LogUnavailable(f"this account lacks the right Read on topic {self._topic.name}") from error
        except KafkaError as error:
            self._seek(self._positions)  # some partitions moved on, and their records were not returned
            raise LogUnavailable(f"{self._topic.name}: not readable: {error}") from error
        self._trail.add(mark_of(records[-1]) for records in batches.values())
        # Not the last record + 1: the marks of foreign producers' transactions are passed, never returned.
        self._positions = {place.partition: await self._consumer.position(place) for place in self._places}
        return next(iter(batches.values())) if len(batches) == 1 else list(chain(*batches.values()))

    async def end_offsets(self, timeout_seconds: float = OFFSETS_TIMEOUT_SECONDS) -> Mapping[int, int]:
        """See `LogReader.end_offsets`."""
        return await self._offsets("end_offsets", timeout_seconds)

    async def offsets_at(self, milliseconds: int) -> Mapping[int, int]:
        """See `LogReader.offsets_at`."""
        ends = await self._offsets("end_offsets")  # before, so that nothing that comes meanwhile is passed
        with log_unavailable(f"{self._topic.name}: offsets at a time not known"):
            async with asyncio.timeout(OFFSETS_TIMEOUT_SECONDS):
                found = await self._consumer.offsets_for_times(dict.fromkeys(self._places, milliseconds))
        first = {place.partition: at.offset for place, at in found.items() if at is not None}
        return {**ends, **first}

    async def lost(self, marks: Collection[Mark]) -> Sequence[Mark]:
        """See `LogReader.lost`. Connects for itself."""
        return await lost_marks(self._settings, marks, self._compacted)

    def positions(self) -> Mapping[int, int]:
        """See `LogReader.positions`."""
        return dict(self._positions)

    async def __aenter__(self) -> Self:
        self._consumer = await self._new_consumer()
        self._watching = asyncio.create_task(self._trail.watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        await stop_consumer(self._consumer)

    async def _epochs(self) -> Mapping[int, int]:
        with log_unavailable(f"{self._topic.name}: leaders not known"):
            return await leader_epochs(self._consumer._client, self._topic.name)

    async def _new_consumer(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            **self._settings.client_options(),
            auto_offset_reset="none",
            isolation_level=self._topic.isolation_level,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            # Kafka answers one request of a connection at a time: end_offsets waits so long for a fetch.
            fetch_max_wait_ms=100,
        )
        await start(consumer, self._settings)
        return consumer

    async def _reopen(self) -> None:
        """Go on with a new consumer where the old one stopped: its fetching has ended, for ever."""
        broken, self._consumer = self._consumer, await self._new_consumer()
        self._consumer.assign(self._places)
        self._seek(self._positions)
        await stop_consumer(broken)

    async def _check_partitions(self) -> None:
        with log_unavailable(f"{self._topic.name}: not described"):
            found = await find(self._settings, self._topic)
        servers = self._settings.bootstrap_servers
        if problems := list(topic_differences(self._topic, found, agreed={}, bootstrap_servers=servers)):
            raise WrongLog("; ".join(problems))

    async def _offsets(self, which: str, timeout_seconds: float = OFFSETS_TIMEOUT_SECONDS) -> dict[int, int]:
        with log_unavailable(f"{self._topic.name}: {which} not known"):
            async with asyncio.timeout(timeout_seconds):
                offsets = await getattr(self._consumer, which)(self._places)
        return {place.partition: offset for place, offset in offsets.items()}

    def _seek(self, positions: Mapping[int, int]) -> None:
        for partition, offset in positions.items():
            self._consumer.seek(TopicPartition(self._topic.name, partition), offset)
        self._positions = dict(positions)


def _position(topic: str, stored: Any) -> Position:
    if stored is None:
        raise LogUnavailable(f"{topic}: closed before it was acknowledged")
    appended_at_ms = stored.timestamp if stored.timestamp_type == LOG_APPEND_TIME else None
    return Position(topic, stored.partition, stored.offset, appended_at_ms)
