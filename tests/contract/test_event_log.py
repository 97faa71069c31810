"""What the log promises, kept by Kafka and by its twin in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from aiokafka.partitioner import murmur2  # type: ignore[import-untyped]

from events.errors import WrongLog
from events.kafka_log import KafkaEventLog, KafkaLogReader
from events.log import LOG_APPEND_TIME, BulkLog, LogReader, Record
from events.log_marks import mark_of
from events.memory_log import MemoryLog
from events.settings import KafkaSettings
from events.topics import Topic, Topics

pytestmark = pytest.mark.anyio


@dataclass
class Subject:
    """One implementation: a log, an empty topic of it, and readers of that topic."""

    log: BulkLog
    topic: Topic
    reader: Callable[[], AbstractAsyncContextManager[LogReader]]


@pytest.fixture(params=["memory", "kafka"])
def implementation(request: pytest.FixtureRequest) -> Callable[[], AbstractAsyncContextManager[Subject]]:
    if request.param == "memory":
        return _in_memory
    settings, topics = request.getfixturevalue("kafka_settings"), request.getfixturevalue("topics")
    return lambda: _over_kafka(settings, topics)


@pytest.fixture
async def subject(
    implementation: Callable[[], AbstractAsyncContextManager[Subject]],
) -> AsyncIterator[Subject]:
    async with implementation() as subject:
        yield subject


async def test_an_appended_record_is_read_where_the_append_said(subject: Subject) -> None:
    position = await subject.log.append(subject.topic.name, b"lineage", b"created")
    [record] = await _read_all(subject)
    assert (record.topic, record.partition, record.offset) == (
        position.topic,
        position.partition,
        position.offset,
    )
    assert (record.key, record.value) == (b"lineage", b"created")


async def test_the_records_of_a_key_are_read_in_the_order_of_their_appends(subject: Subject) -> None:
    for number in range(60):
        await subject.log.append(subject.topic.name, f"key-{number % 3}".encode(), str(number).encode())
    read = await _read_all(subject)
    for key in range(3):
        values = [int(record.value or b"") for record in read if record.key == f"key-{key}".encode()]
        assert values == list(range(key, 60, 3))


async def test_a_key_has_the_partition_that_every_kafka_client_gives_it(subject: Subject) -> None:
    """Not even a later reader in another language may look for a lineage elsewhere."""
    for number in range(20):
        key = f"lineage-{number}".encode()
        position = await subject.log.append(subject.topic.name, key, b"value")
        assert position.partition == (murmur2(key) & 0x7FFFFFFF) % subject.topic.partitions


async def test_records_of_many_keys_spread_over_every_partition(subject: Subject) -> None:
    for number in range(200):
        await subject.log.append(subject.topic.name, str(number).encode(), b"value")
    assert {record.partition for record in await _read_all(subject)} == set(range(subject.topic.partitions))


async def test_many_appended_at_once_are_read_where_the_append_said_each_key_in_order(
    subject: Subject,
) -> None:
    """More than a partition takes at once, and more than one append at a time."""
    records = [
        (None if number % 50 == 0 else f"key-{number % 7}".encode(), b"%d" % number + b" " * 400)
        for number in range(500)
    ]
    halves = await asyncio.gather(
        *(subject.log.append_all(subject.topic.name, half) for half in (records[:250], records[250:]))
    )
    read = {(one.partition, one.offset): (one.key, one.value) for one in await _read_all(subject)}
    places = [(place.partition, place.offset) for places in halves for place in places]
    assert [read.pop(place) for place in places] == records
    assert read == {}
    for half in (records[:250], records[250:]):
        for key in {key for key, _ in half if key is not None}:
            of_key = [
                place
                for place, record in zip(places, records, strict=True)
                if record in half and record[0] == key
            ]
            assert of_key == sorted(of_key)


async def test_nothing_appended_at_once_is_nothing(subject: Subject) -> None:
    assert await subject.log.append_all(subject.topic.name, []) == []
    assert await _read_all(subject) == []


async def test_key_value_and_headers_come_back_as_they_were(subject: Subject) -> None:
    headers = [("topic", b"keys.usage"), ("offset", b"17"), ("topic", b"twice")]
    appended = [
        (b"key", None, []),
        (None, b"value", headers),
        (b"", b"", []),
        (b"\xff\x00", b"\x00", headers),
    ]
    for key, value, its_headers in appended:
        await subject.log.append(subject.topic.name, key, value, its_headers)
    read: Sequence[Any] = await _read_all(subject)
    assert sorted(((one.key, one.value, list(one.headers)) for one in read), key=repr) == sorted(
        appended, key=repr
    )


async def test_offsets_of_a_partition_count_from_zero_without_gaps(subject: Subject) -> None:
    offsets = [(await subject.log.append(subject.topic.name, b"key", b"value")).offset for _ in range(5)]
    assert offsets == [0, 1, 2, 3, 4]


async def test_a_reader_begins_where_it_is_told_and_elsewhere_at_zero(subject: Subject) -> None:
    places = [
        await subject.log.append(subject.topic.name, str(number).encode(), b"value") for number in range(100)
    ]
    chosen = places[50].partition
    read = await _read_all(subject, {chosen: 3})
    assert [one.offset for one in read if one.partition == chosen] == [
        place.offset for place in places if place.partition == chosen and place.offset >= 3
    ]
    elsewhere = [(one.partition, one.offset) for one in read if one.partition != chosen]
    assert sorted(elsewhere) == sorted((p.partition, p.offset) for p in places if p.partition != chosen)


async def test_a_reader_begins_anew_when_told_so_again(subject: Subject) -> None:
    await subject.log.append(subject.topic.name, b"key", b"value")
    async with subject.reader() as reader:
        for _ in range(2):
            await reader.begin({})
            assert [record.value for record in await _read(reader, 1)] == [b"value"]


@pytest.mark.parametrize("beyond", [1, 1000])
async def test_an_offset_beyond_the_end_is_another_log(subject: Subject, beyond: int) -> None:
    place = await subject.log.append(subject.topic.name, b"key", b"value")
    async with subject.reader() as reader:
        with pytest.raises(WrongLog, match=f"{place.partition}"):
            await reader.begin({place.partition: place.offset + 1 + beyond})


async def test_a_position_in_a_partition_that_does_not_exist_is_another_log(subject: Subject) -> None:
    async with subject.reader() as reader:
        with pytest.raises(WrongLog):
            await reader.begin({subject.topic.partitions: 0})


async def test_what_was_read_stands_where_it_stood(subject: Subject) -> None:
    await subject.log.append(subject.topic.name, b"key", b"value")
    await subject.log.append(subject.topic.name, b"key", None)
    async with subject.reader() as reader:
        await reader.begin({})
        marks = [mark_of(record) for record in await _read(reader, 2)]
        assert await reader.lost(marks) == []
        assert await reader.lost([]) == []


async def test_another_record_at_an_offset_or_none_is_a_loss(subject: Subject) -> None:
    await subject.log.append(subject.topic.name, b"key", b"value")
    async with subject.reader() as reader:
        await reader.begin({})
        (record,) = await _read(reader, 1)
        mark = mark_of(record)
        others = [
            mark._replace(appended_ms=mark.appended_ms + 1),
            mark._replace(digest=mark.digest ^ 1),
            mark._replace(offset=mark.offset + 1),
        ]
        assert sorted(await reader.lost([mark, *others])) == sorted(others)


async def test_the_end_is_a_place_to_begin(subject: Subject) -> None:
    place = await subject.log.append(subject.topic.name, b"key", b"old")
    async with subject.reader() as reader:
        await reader.begin(await reader.end_offsets())
        assert await reader.read(timeout_seconds=0.2) == []
        await subject.log.append(subject.topic.name, b"key", b"new")
        assert [(one.offset, one.value) for one in await _read(reader, 1)] == [(place.offset + 1, b"new")]


async def test_the_broker_dates_what_is_appended(subject: Subject) -> None:
    before = time.time()
    position = await subject.log.append(subject.topic.name, b"key", b"value")
    [record] = await _read_all(subject)
    assert record.timestamp_type == LOG_APPEND_TIME
    assert position.appended_at_ms == record.timestamp
    assert before - 1 < record.timestamp / 1000 < time.time() + 1


async def test_offsets_at_a_time_are_those_of_the_first_record_appended_then_or_later(
    subject: Subject,
) -> None:
    async with subject.reader() as reader:
        assert await reader.offsets_at(0) == dict.fromkeys(range(subject.topic.partitions), 0)
        for _ in range(3):
            place = await subject.log.append(subject.topic.name, b"key", b"value")
            await asyncio.sleep(0.005)
        await reader.begin({})
        times = [record.timestamp for record in await _read(reader, 3)]
        assert len(set(times)) == 3
        for at, offset in ((0, 0), (times[0], 0), (times[0] + 1, 1), (times[2], 2), (times[2] + 1, 3)):
            nothing_elsewhere = dict.fromkeys(range(subject.topic.partitions), 0)
            assert await reader.offsets_at(at) == {**nothing_elsewhere, place.partition: offset}


async def test_positions_follow_what_was_read_up_to_the_end_offsets(subject: Subject) -> None:
    async with subject.reader() as reader:
        await reader.begin({})
        assert reader.positions() == dict.fromkeys(range(subject.topic.partitions), 0)
        for number in range(40):
            await subject.log.append(subject.topic.name, str(number).encode(), b"value")
        assert reader.positions() == dict.fromkeys(range(subject.topic.partitions), 0)
        read = await _read(reader, 40)
        assert reader.positions() == await reader.end_offsets()
        assert sum(reader.positions().values()) == len(read)


async def test_positions_never_pass_a_record_that_was_not_returned(subject: Subject) -> None:
    for number in range(40):
        await subject.log.append(subject.topic.name, str(number).encode(), b"value")
    async with subject.reader() as reader:
        await reader.begin({})
        returned = 0
        while returned < 40:
            read = await reader.read(max_records=3)
            assert len(read) <= 3
            returned += len(read)
            assert sum(reader.positions().values()) == returned


async def test_end_offsets_name_every_partition_also_the_empty_ones(subject: Subject) -> None:
    place = await subject.log.append(subject.topic.name, b"key", b"value")
    async with subject.reader() as reader:
        ends = await reader.end_offsets()
    assert ends == {
        partition: int(partition == place.partition) for partition in range(subject.topic.partitions)
    }


async def test_a_read_of_nothing_ends_in_time(subject: Subject) -> None:
    async with subject.reader() as reader:
        await reader.begin({})
        began = asyncio.get_running_loop().time()
        assert await reader.read(timeout_seconds=0.3) == []
        assert 0.2 < asyncio.get_running_loop().time() - began < 2.0


async def test_a_waiting_read_returns_as_soon_as_there_is_a_record(subject: Subject) -> None:
    async with subject.reader() as reader:
        await reader.begin({})
        waiting = asyncio.create_task(reader.read(timeout_seconds=30.0))
        await reader.end_offsets()
        await subject.log.append(subject.topic.name, b"key", b"value")
        async with asyncio.timeout(5.0):
            assert [record.value for record in await waiting] == [b"value"]


async def test_a_cancelled_read_loses_nothing(subject: Subject) -> None:
    async with subject.reader() as reader:
        await reader.begin({})
        waiting = asyncio.create_task(reader.read(timeout_seconds=30.0))
        await asyncio.wait({waiting}, timeout=0.05)
        waiting.cancel()
        await asyncio.wait({waiting})
        await subject.log.append(subject.topic.name, b"key", b"value")
        assert [record.value for record in await _read(reader, 1)] == [b"value"]


async def test_two_readers_each_read_everything(subject: Subject) -> None:
    await subject.log.append(subject.topic.name, b"key", b"value")
    async with subject.reader() as one, subject.reader() as other:
        for reader in (one, other):
            await reader.begin({})
            assert [record.value for record in await _read(reader, 1)] == [b"value"]


@asynccontextmanager
async def _in_memory() -> AsyncIterator[Subject]:
    log, topic = MemoryLog(), Topics().lifecycle

    @asynccontextmanager
    async def reader() -> AsyncIterator[LogReader]:
        yield log.reader(topic)

    yield Subject(log, topic, reader)


@asynccontextmanager
async def _over_kafka(settings: KafkaSettings, topics: Topics) -> AsyncIterator[Subject]:
    topic = topics.lifecycle
    async with KafkaEventLog(settings) as log:
        yield Subject(log, topic, lambda: KafkaLogReader(settings, topic))


async def _read_all(subject: Subject, positions: dict[int, int] | None = None) -> Sequence[Record]:
    async with subject.reader() as reader:
        await reader.begin(positions or {})
        ends = await reader.end_offsets()
        return await _read(reader, sum(ends.values()) - sum(reader.positions().values()))


async def _read(reader: LogReader, count: int) -> list[Record]:
    read: list[Record] = []
    async with asyncio.timeout(20.0):
        while len(read) < count:
            read += await reader.read()
    return read
