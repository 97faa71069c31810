"""Reading a log to where it ended reads what was asked for, and nothing else."""

from __future__ import annotations

import pytest

from events.log import Record
from events.log_reading import read_through, records_before
from events.memory_log import MemoryLog
from events.topics import Topics

pytestmark = pytest.mark.anyio

TOPIC = Topics.from_environment({}).lifecycle


async def test_every_record_before_the_ends_is_read_in_order() -> None:
    log = await a_log(100)
    reader = log.reader(TOPIC)
    ends = await reader.end_offsets()
    records = [record async for read in records_before(reader, ends) for record in read]
    assert len(records) == 100
    for partition, end in ends.items():
        assert offsets(records, partition) == list(range(end))


async def test_what_lies_beyond_an_end_is_left_out() -> None:
    log = await a_log(100)
    reader = log.reader(TOPIC)
    ends = {partition: end - 1 for partition, end in (await reader.end_offsets()).items()}
    records = [record async for read in records_before(reader, ends) for record in read]
    assert len(records) == sum(ends.values())


async def test_a_partition_that_is_not_named_is_not_read() -> None:
    log = await a_log(100)
    reader = log.reader(TOPIC)
    ends = await reader.end_offsets()
    share = {partition: ends[partition] for partition in (1, 7)}
    records = [record async for read in read_through(reader, share) for record in read]
    assert {record.partition for record in records} == {1, 7}
    assert len(records) == sum(share.values())


async def a_log(records: int) -> MemoryLog:
    log = MemoryLog()
    for number in range(records):
        await log.append(TOPIC.name, b"%d" % number, b"{}")
    return log


def offsets(records: list[Record], partition: int) -> list[int]:
    return [record.offset for record in records if record.partition == partition]
