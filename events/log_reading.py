"""Reading a log from its first record to where it ended at some moment."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from types import MappingProxyType

from events.errors import LogUnavailable
from events.log import LogReader, Record

#: Such a reading has an end, so a log that says nothing for so long is not waited for.
PATIENCE_SECONDS = 30.0

_FROM_THE_FIRST: Mapping[int, int] = MappingProxyType({})


async def read_through(
    reader: LogReader, ends: Mapping[int, int], begins: Mapping[int, int] = _FROM_THE_FIRST
) -> AsyncIterator[Sequence[Record]]:
    """Every record from the first on until `ends` are reached, in order within each partition.

    The last ones may lie beyond. What partitions that `ends` does not name hold by now is left alone.
    `begins`: where a partition begins that has forgotten its first records, as it may.
    Raises `LogUnavailable` when nothing comes for 30 s, `WrongLog` when the log has lost records.
    """
    now = await reader.end_offsets()
    left_alone = {partition: end for partition, end in now.items() if partition not in ends}
    await reader.begin({**begins, **left_alone})
    last_progress = time.monotonic()
    while any(reader.positions()[partition] < end for partition, end in ends.items()):
        before = dict(reader.positions())
        records = await reader.read()
        if reader.positions() != before:
            last_progress = time.monotonic()
        elif time.monotonic() - last_progress > PATIENCE_SECONDS:
            raise LogUnavailable(f"the log has said nothing for {PATIENCE_SECONDS:.0f} s")
        yield records


async def records_before(reader: LogReader, ends: Mapping[int, int]) -> AsyncIterator[Sequence[Record]]:
    """The same, with no record beyond `ends`."""
    async for records in read_through(reader, ends):
        yield [record for record in records if record.offset < ends.get(record.partition, 0)]
