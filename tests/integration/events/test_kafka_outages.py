"""The log while its broker is killed, paused or not there."""

from __future__ import annotations

import asyncio
import gc
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from types import CodeType
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition  # type: ignore[import-untyped]

from events import kafka_clients
from events.errors import LogUnavailable
from events.kafka_log import KafkaEventLog, KafkaLogReader
from events.log import Position
from events.log_identity import check_log
from events.settings import KafkaSettings
from events.topic_admin import apply_topics, compare_topics
from events.topics import Topics
from events.waiting import wait_for
from services.local.kafka import EmbeddedKafka
from tests.integration.events.kafka_surgery import configure, paused

pytestmark = pytest.mark.anyio


Attempt = Callable[[KafkaSettings], Awaitable[object]]


async def _open_log(settings: KafkaSettings) -> None:
    async with KafkaEventLog(settings):
        pass


async def _open_reader(settings: KafkaSettings) -> None:
    async with KafkaLogReader(settings, Topics.from_environment({}).lifecycle):
        pass


ATTEMPTS: list[Attempt] = [
    _open_log,
    _open_reader,
    lambda settings: apply_topics(settings, Topics.from_environment({})),
    lambda settings: compare_topics(settings, Topics.from_environment({})),
    lambda settings: check_log(settings, Topics.from_environment({}), None),
]


@pytest.fixture(autouse=True)
async def _nothing_is_left_behind() -> AsyncIterator[None]:
    """No task of a client outlives it, no connection stays open, no exception is retrieved by nobody."""
    noise: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: noise.append(context))
    yield
    gc.collect()  # what was never closed or never retrieved speaks up now
    await asyncio.sleep(0)
    assert noise == []
    assert [task for task in asyncio.all_tasks() if "aiokafka" in _source_of(task)] == []


def _source_of(task: asyncio.Task[Any]) -> str:
    code: CodeType = task.get_coro().cr_code  # type: ignore[union-attr]
    return code.co_filename


async def test_a_killed_broker_loses_no_acknowledged_record_and_no_order(
    shaken_kafka: EmbeddedKafka, shaken_settings: KafkaSettings, shaken_topics: Topics
) -> None:
    """Appending and reading go on by themselves once it is back."""
    topic = shaken_topics.lifecycle
    acknowledged: dict[int, list[Position]] = {writer: [] for writer in range(4)}
    stop = asyncio.Event()

    async def write(writer: int) -> None:
        number = 0
        while not stop.is_set():
            value = f"{writer}:{number}".encode()
            acknowledged[writer].append(await log.append(topic.name, f"key-{writer}".encode(), value))
            number += 1

    async with (
        KafkaEventLog(shaken_settings, timeout_seconds=90) as log,
        KafkaLogReader(shaken_settings, topic) as reader,
    ):
        await reader.begin({})
        read: dict[int, list[int]] = defaultdict(list)
        places = set()

        async def follow() -> None:
            for record in await reader.read():
                writer, number = (record.value or b"").decode().split(":")
                read[int(writer)].append(int(number))
                places.add(Position(record.topic, record.partition, record.offset))

        async def follow_until_all_read_on() -> None:
            seen = {writer: len(read[writer]) for writer in acknowledged}
            async with asyncio.timeout(90):
                while not all(len(read[writer]) > seen[writer] + 20 for writer in acknowledged):
                    await follow()

        writers = [asyncio.create_task(write(writer)) for writer in acknowledged]
        await follow_until_all_read_on()
        await asyncio.to_thread(shaken_kafka.kill)
        await asyncio.to_thread(shaken_kafka.start)
        await follow_until_all_read_on()
        stop.set()
        await asyncio.gather(*writers)
        while reader.positions() != await reader.end_offsets():
            await follow()
    for writer, positions in acknowledged.items():
        assert read[writer] == list(range(len(positions)))
        assert set(positions) <= places


async def test_an_append_to_a_paused_broker_ends_with_its_caller_and_may_still_arrive(
    shaken_kafka: EmbeddedKafka, shaken_settings: KafkaSettings, shaken_topics: Topics
) -> None:
    topic = shaken_topics.lifecycle
    async with KafkaEventLog(shaken_settings) as log, KafkaLogReader(shaken_settings, topic) as reader:
        await log.append(topic.name, b"key", b"before")
        await reader.begin({})
        with paused(shaken_kafka):
            async with asyncio.timeout(2):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(log.append(topic.name, b"key", b"during"), 0.5)
        await log.append(topic.name, b"key", b"after")
        assert await values_read(reader, 3) == [b"before", b"during", b"after"]


async def test_a_record_that_is_refused_after_its_caller_left_spoils_none_that_come_after_it(
    shaken_kafka: EmbeddedKafka, shaken_settings: KafkaSettings, shaken_topics: Topics
) -> None:
    name = shaken_topics.lifecycle.name
    await configure(shaken_settings, shaken_topics.lifecycle, max_message_bytes="1000")
    async with KafkaEventLog(shaken_settings) as log:
        await log.append(name, b"key", b"before")
        with paused(shaken_kafka), pytest.raises(TimeoutError):
            await asyncio.wait_for(log.append(name, b"key", bytes(2000)), 0.2)
        # Kafka answers a producer in turn, so the refusal has come when this is acknowledged.
        elsewhere = await log.append(name, b"another key", b"value")
        assert (await log.append(name, b"key", b"after")).partition != elsewhere.partition


async def test_an_append_has_a_deadline_of_its_own(
    shaken_kafka: EmbeddedKafka, shaken_settings: KafkaSettings, shaken_topics: Topics
) -> None:
    async with KafkaEventLog(shaken_settings, timeout_seconds=0.5) as log:
        await log.append(shaken_topics.lifecycle.name, b"key", b"value")
        with paused(shaken_kafka):
            async with asyncio.timeout(2):
                with pytest.raises(
                    LogUnavailable, match=r"keys.lifecycle: not acknowledged: no answer in time"
                ):
                    await log.append(shaken_topics.lifecycle.name, b"key", b"value")


async def test_a_reader_of_a_paused_broker_waits_and_goes_on(
    shaken_kafka: EmbeddedKafka, shaken_settings: KafkaSettings, shaken_topics: Topics
) -> None:
    topic = shaken_topics.lifecycle
    async with KafkaEventLog(shaken_settings) as log, KafkaLogReader(shaken_settings, topic) as reader:
        await reader.begin({})
        with paused(shaken_kafka):
            async with asyncio.timeout(3):
                assert await reader.read(timeout_seconds=0.5) == []
                with pytest.raises(LogUnavailable, match="end_offsets not known: no answer in time"):
                    await reader.end_offsets(timeout_seconds=0.5)
                assert await reader.read(timeout_seconds=0.5) == []
        await log.append(topic.name, b"key", b"value")
        assert await values_read(reader, 1) == [b"value"]
        assert sum((await reader.end_offsets()).values()) == 1


async def test_a_log_that_is_closed_while_its_broker_is_paused_closes_in_time(
    shaken_kafka: EmbeddedKafka, shaken_settings: KafkaSettings, shaken_topics: Topics
) -> None:
    """A process that is asked to stop has 10 s. Whoever still waits for an acknowledgement hears of it."""
    name = shaken_topics.lifecycle.name
    with ExitStack() as until_resumed:
        async with asyncio.timeout(9):
            async with (
                KafkaEventLog(shaken_settings) as log,
                KafkaLogReader(shaken_settings, shaken_topics.lifecycle),
            ):
                await log.append(name, b"key", b"value")
                until_resumed.enter_context(paused(shaken_kafka))
                # More than one batch takes, so that some are on their way, some wait, and some wait for room.
                appends = [asyncio.create_task(log.append(name, b"key", bytes(4000))) for _ in range(20)]
                await asyncio.wait(appends, timeout=0.2)
        for append in appends:
            with pytest.raises(LogUnavailable):
                await append


async def test_a_consumer_is_stopped_completely_between_a_failed_request_and_its_repetition(
    shaken_kafka: EmbeddedKafka, shaken_settings: KafkaSettings, shaken_topics: Topics
) -> None:
    """aiokafka's own stop() ends there with the cancellation of that request, which reads as one of ours."""
    place = TopicPartition(shaken_topics.lifecycle.name, 0)
    consumer = AIOKafkaConsumer(**shaken_settings.client_options(), retry_backoff_ms=30_000)
    async with kafka_clients.running(consumer, shaken_settings):
        consumer.assign([place])
        await consumer.seek_to_beginning(place)
        assert await consumer.getmany(timeout_ms=200) == {}
        await asyncio.to_thread(shaken_kafka.kill)
        async with asyncio.timeout(10):
            while any(connection.connected() for connection in consumer._client._conns.values()):
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
    await asyncio.to_thread(shaken_kafka.start)
    await asyncio.to_thread(shaken_kafka.wait_ready)


async def test_callers_that_give_up_during_an_outage_leave_nothing_in_memory(
    shaken_kafka: EmbeddedKafka, shaken_settings: KafkaSettings, shaken_topics: Topics
) -> None:
    """A busy service would otherwise grow by every request of a long outage."""
    name = shaken_topics.lifecycle.name
    async with (
        KafkaEventLog(shaken_settings) as log,
        KafkaLogReader(shaken_settings, shaken_topics.lifecycle) as reader,
    ):
        await reader.begin({})
        await log.append(name, b"key", b"first")
        with paused(shaken_kafka):
            before = len(asyncio.all_tasks())
            for _ in range(20):
                appends = (asyncio.wait_for(log.append(name, b"key", bytes(1000)), 0.05) for _ in range(100))
                outcomes = await asyncio.gather(*appends, return_exceptions=True)
                assert {type(outcome) for outcome in outcomes} == {TimeoutError}
            assert len(asyncio.all_tasks()) <= before + 3
        await log.append(name, b"key", b"last")
        kept = await reader.end_offsets()
        # One batch was on its way and one was waiting: 16 kB each.
        assert sum(kept.values()) <= 2 + 2 * 17
        values = await values_read(reader, sum(kept.values()))
        assert (values[0], values[-1]) == (b"first", b"last")


@pytest.mark.parametrize("attempt", ATTEMPTS)
async def test_nobody_there_is_told_at_once(nowhere: KafkaSettings, attempt: Attempt) -> None:
    async with asyncio.timeout(3):
        with pytest.raises(LogUnavailable, match=r"no connection to 127\.0\.0\.1:1"):
            await attempt(nowhere)


async def test_a_paused_broker_is_told_within_the_deadline(
    shaken_kafka: EmbeddedKafka,
    shaken_settings: KafkaSettings,
    shaken_topics: Topics,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kafka_clients, "REQUEST_TIMEOUT_MS", 1_000)
    with paused(shaken_kafka):
        async with asyncio.timeout(5):
            attempts = (attempt(shaken_settings) for attempt in ATTEMPTS)
            outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {LogUnavailable}


async def test_waiting_for_the_log_ends_when_its_broker_is_back(
    shaken_kafka: EmbeddedKafka, shaken_settings: KafkaSettings, shaken_topics: Topics
) -> None:
    """While it starts it may answer anything, but never that this is another log."""
    known = await check_log(shaken_settings, shaken_topics, None)
    await asyncio.to_thread(shaken_kafka.kill)
    check = partial(check_log, shaken_settings, shaken_topics, known)
    waiting = asyncio.create_task(wait_for("Kafka", check, (LogUnavailable,)))
    await asyncio.wait({waiting}, timeout=0.5)
    await asyncio.to_thread(shaken_kafka.start)
    async with asyncio.timeout(30):
        assert await waiting == known


async def values_read(reader: KafkaLogReader, count: int) -> list[bytes | None]:
    values: list[bytes | None] = []
    async with asyncio.timeout(20):
        while len(values) < count:
            values += [record.value for record in await reader.read()]
    return values
