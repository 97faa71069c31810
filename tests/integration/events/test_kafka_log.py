"""What only a real log can do to those who append to it and read it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]
from aiokafka.errors import TopicAuthorizationFailedError  # type: ignore[import-untyped]

from events.errors import LogUnavailable, RecordRefused, WrongLog
from events.kafka_log import KafkaEventLog, KafkaLogReader
from events.log import LOG_APPEND_TIME, Position, Record
from events.settings import KafkaSettings
from events.topic_admin import apply_topics
from events.topics import Topic, Topics
from tests.integration.events.kafka_surgery import add_a_partition, configure, delete, delete_before

pytestmark = pytest.mark.anyio


@pytest.fixture
async def log(kafka_settings: KafkaSettings) -> AsyncIterator[KafkaEventLog]:
    async with KafkaEventLog(kafka_settings) as log:
        yield log


@pytest.fixture
async def reader(kafka_settings: KafkaSettings, topics: Topics) -> AsyncIterator[KafkaLogReader]:
    async with KafkaLogReader(kafka_settings, topics.lifecycle) as reader:
        yield reader


@pytest.fixture
async def picky(kafka_settings: KafkaSettings, topics: Topics) -> str:
    """A topic that refuses records of more than 1,000 bytes."""
    await configure(kafka_settings, topics.usage, max_message_bytes="1000")
    return topics.usage.name


async def test_the_first_append_after_apply_needs_no_second_try(
    log: KafkaEventLog, topics: Topics, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(50):
        await log.append(topics.lifecycle.name, str(number).encode(), b"value")
    assert [record.getMessage() for record in caplog.records if "aiokafka" in record.name] == []


async def test_a_refused_record_spoils_none_that_come_after_it(log: KafkaEventLog, picky: str) -> None:
    """The broker counts an idempotent producer's records; aiokafka counts the refused one too."""
    await log.append(picky, b"key", b"small")
    with pytest.raises(LogUnavailable, match="MessageSizeTooLargeError"):
        await log.append(picky, b"key", bytes(2000))
    assert (await log.append(picky, b"key", b"small")).offset == 1


async def test_a_refused_record_among_many_is_told_and_spoils_none_that_come_later(
    log: KafkaEventLog, picky: str
) -> None:
    await log.append(picky, b"two", b"small")
    with pytest.raises(LogUnavailable, match=r"not all acknowledged: .*MessageSizeTooLargeError"):
        await log.append_all(picky, [(b"one", b"small"), (b"two", bytes(2000)), (b"three", b"small")])
    for _ in range(2):
        assert len(await log.append_all(picky, [(b"one", b"small"), (b"two", b"small")])) == 2


async def test_many_that_are_not_acknowledged_in_time_are_told(
    kafka_settings: KafkaSettings, topics: Topics
) -> None:
    async with KafkaEventLog(kafka_settings, timeout_seconds=0.5) as log:
        with pytest.raises(LogUnavailable, match="not all acknowledged"):
            await log.append_all(f"{topics.prefix}not-there", [(b"key", b"value")])


async def test_a_topic_that_does_not_exist_is_told(kafka_settings: KafkaSettings, topics: Topics) -> None:
    async with KafkaEventLog(kafka_settings, timeout_seconds=0.5) as log:
        with pytest.raises(LogUnavailable, match="not-there: not acknowledged"):
            await log.append(f"{topics.prefix}not-there", b"key", b"value")


async def test_a_closed_log_takes_nothing_more(kafka_settings: KafkaSettings, topics: Topics) -> None:
    async with KafkaEventLog(kafka_settings) as log:
        pass
    with pytest.raises(LogUnavailable, match="closed"):
        await log.append(topics.lifecycle.name, b"key", b"value")


async def test_hundreds_of_appends_at_once_all_arrive(
    log: KafkaEventLog, reader: KafkaLogReader, topics: Topics
) -> None:
    await asyncio.gather(
        *(log.append(topics.lifecycle.name, str(number).encode(), bytes(500)) for number in range(500))
    )
    assert sum((await reader.end_offsets()).values()) == 500


async def test_a_log_without_its_head_is_another_log(
    log: KafkaEventLog, reader: KafkaLogReader, kafka_settings: KafkaSettings, topics: Topics
) -> None:
    last = await _append_some(log, topics.lifecycle, count=3)
    await delete_before(kafka_settings, last)
    with pytest.raises(
        WrongLog, match=rf"{last.partition} holds offsets 2 to 3, .* at 0: see docs/operations"
    ):
        await reader.begin({})
    await reader.begin({last.partition: last.offset})
    assert [record.offset for record in await reader.read()] == [last.offset]


async def test_a_head_that_is_deleted_before_a_slow_reader_got_there_is_never_skipped(
    log: KafkaEventLog, reader: KafkaLogReader, kafka_settings: KafkaSettings, topics: Topics
) -> None:
    # Each fetch takes one record of this size, so that most are still in the log when it is cut.
    last = await _append_some(log, topics.lifecycle, count=5, size_bytes=900_000)
    await reader.begin({})
    await delete_before(kafka_settings, last)
    offsets: list[int] = []
    with pytest.raises(WrongLog, match=rf"{last.topic}/{last.partition}@\d .* not in the log any more"):
        await _read_until(reader, lambda: False, offsets)
    assert offsets == list(range(len(offsets)))
    assert len(offsets) < last.offset


async def test_a_log_that_became_shorter_than_what_was_read_is_another_log(
    log: KafkaEventLog, reader: KafkaLogReader, kafka_settings: KafkaSettings, topics: Topics
) -> None:
    last = await _append_some(log, topics.lifecycle, count=3)
    offsets: list[int] = []
    await reader.begin({})
    await _read_until(reader, lambda: len(offsets) == 3, offsets)
    await delete(kafka_settings, topics.lifecycle)
    await apply_topics(kafka_settings, topics)
    with pytest.raises(WrongLog, match=rf"{last.topic}/{last.partition}@3 "):
        await _read_until(reader, lambda: False, offsets)
    assert offsets == [0, 1, 2]


async def test_a_topic_with_another_number_of_partitions_is_another_log(
    reader: KafkaLogReader, kafka_settings: KafkaSettings, topics: Topics
) -> None:
    await add_a_partition(kafka_settings, topics.lifecycle)
    with pytest.raises(WrongLog, match="has 13 partitions instead of the 12"):
        await reader.begin({})


async def test_a_reader_of_a_missing_topic_says_how_to_make_it(
    kafka_settings: KafkaSettings, topics: Topics
) -> None:
    missing = topics.model_copy(update={"prefix": "missing."}).lifecycle
    async with KafkaLogReader(kafka_settings, missing) as reader:
        with pytest.raises(
            WrongLog, match=r"missing.keys.lifecycle is missing: run `hokusai-auth topics apply`"
        ):
            await reader.begin({})


@pytest.mark.parametrize("commits", [True, False])
async def test_positions_pass_the_marks_of_foreign_transactions(
    commits: bool, reader: KafkaLogReader, kafka_settings: KafkaSettings, topics: Topics
) -> None:
    """They are no records, yet they have offsets: whoever waits for the end would wait for ever."""
    name = topics.lifecycle.name
    await reader.begin({})
    async with AIOKafkaProducer(**kafka_settings.client_options(), transactional_id=name) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(name, b"value", b"key")
        await (producer.commit_transaction() if commits else producer.abort_transaction())
    async with asyncio.timeout(20):  # the mark is written after the commit is answered
        while sum((ends := await reader.end_offsets()).values()) < 2:
            pass
    offsets: list[int] = []
    await _read_until(reader, lambda: reader.positions() == ends, offsets)
    assert offsets == [0]


async def test_end_offsets_are_told_while_a_read_waits(reader: KafkaLogReader) -> None:
    """Staleness is measured once a second, beside a tail that has nothing to read."""
    await reader.begin({})
    waiting = asyncio.create_task(reader.read(timeout_seconds=5))
    began = asyncio.get_running_loop().time()
    for _ in range(3):
        await reader.end_offsets()
    assert asyncio.get_running_loop().time() - began < 1.0
    waiting.cancel()


async def test_a_reader_whose_fetching_has_ended_goes_on_where_it_was(
    reader: KafkaLogReader, kafka_settings: KafkaSettings, topics: Topics
) -> None:
    """aiokafka never begins it again; once such a worker had to be started anew."""

    async def fail() -> None:
        raise TopicAuthorizationFailedError

    offsets: list[int] = []
    async with KafkaEventLog(kafka_settings) as log:
        await reader.begin({})
        await _append_some(log, topics.lifecycle, 3)
        await _read_until(reader, lambda: len(offsets) == 3, offsets)
        fetcher = reader._consumer._fetcher
        fetcher._fetch_task.cancel()
        await asyncio.wait({fetcher._fetch_task})
        fetcher._fetch_task = asyncio.create_task(fail())
        await asyncio.wait({fetcher._fetch_task})
        await _append_some(log, topics.lifecycle, 2)

        await _read_until(reader, lambda: len(offsets) == 5, offsets)

    assert offsets == [0, 1, 2, 3, 4]
    assert sum((await reader.end_offsets()).values()) == 5


async def test_a_reader_whose_fetching_has_lost_a_cancellation_can_be_closed(
    kafka_settings: KafkaSettings, topics: Topics
) -> None:
    """As aiokafka's does where it comes while the fetcher cancels its requests for a new assignment."""

    async def lose_a_cancellation() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    reader = await KafkaLogReader(kafka_settings, topics.lifecycle).__aenter__()
    await reader.begin({})
    fetcher = reader._consumer._fetcher
    fetcher._fetch_task.cancel()
    await asyncio.wait({fetcher._fetch_task})
    fetcher._fetch_task = asyncio.create_task(lose_a_cancellation())
    closing = asyncio.create_task(reader.__aexit__(None, None, None))
    closed, _ = await asyncio.wait({closing}, timeout=20)
    closing.cancel()
    await asyncio.wait({closing})
    assert closed == {closing}


async def test_a_time_that_the_writer_gave_is_told_from_the_brokers(
    kafka_settings: KafkaSettings, topics: Topics, log: KafkaEventLog, reader: KafkaLogReader
) -> None:
    """Somebody configured the topic so: a reader must not take such a time for the broker's."""
    await log.append(topics.lifecycle.name, b"key", b"value")
    await configure(kafka_settings, topics.lifecycle, message_timestamp_type="CreateTime")
    await log.append(topics.lifecycle.name, b"key", b"value")
    await reader.begin({})
    records: list[Record] = []
    while len(records) < 2:
        records += await reader.read()
    assert [record.timestamp_type for record in records] == [LOG_APPEND_TIME, 0]


async def _append_some(log: KafkaEventLog, topic: Topic, count: int, size_bytes: int = 100) -> Position:
    """All in one partition; returns the place of the last one."""
    return [await log.append(topic.name, b"key", bytes(size_bytes)) for _ in range(count)][-1]


async def _read_until(reader: KafkaLogReader, is_done: Callable[[], bool], offsets: list[int]) -> None:
    async with asyncio.timeout(20):
        while not is_done():
            offsets += [record.offset for record in await reader.read()]


async def test_a_record_that_is_too_large_is_told_apart_from_an_outage(
    log: KafkaEventLog, picky: str
) -> None:
    """Whether the producer refuses it, or the broker."""
    for size in (2_000_000, 5_000):
        with pytest.raises(RecordRefused):
            await log.append(picky, b"large", bytes(size))
        await log.append(picky, b"small", b"value")
