"""Fold `keys.lifecycle` from its first record: what every reader of the log must come to."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence

from events.errors import LogUnavailable
from events.lifecycle import Folded, fold
from events.lineage import Lineage
from events.log import LogReader, Record

#: A replay has an end, so a log that says nothing for so long is not waited for.
PATIENCE_SECONDS = 30.0


async def replay(
    reader: LogReader,
    ends: Mapping[int, int],
    lineages: dict[str, Lineage],
    only_key: bytes | None = None,
) -> AsyncIterator[Sequence[tuple[Record, Folded]]]:
    """Fold every record before `ends` into `lineages`, yielding what became of each, in order.

    `only_key`: the record key of one lineage, when the others don't matter.
    Raises `LogUnavailable` when nothing comes for 30 s, `WrongLog` when the log has lost records.
    """
    async for records in records_before(reader, ends):
        yield [(record, _fold_into(lineages, record)) for record in records if only_key in (None, record.key)]


async def records_before(reader: LogReader, ends: Mapping[int, int]) -> AsyncIterator[Sequence[Record]]:
    """Every record before `ends`, in order within each partition.

    Raises `LogUnavailable` when nothing comes for 30 s, `WrongLog` when the log has lost records.
    """
    await reader.begin({})
    last_progress = time.monotonic()
    while any(reader.positions()[partition] < end for partition, end in ends.items()):
        before = dict(reader.positions())
        records = await reader.read()
        if reader.positions() != before:
            last_progress = time.monotonic()
        elif time.monotonic() - last_progress > PATIENCE_SECONDS:
            raise LogUnavailable(f"the log has said nothing for {PATIENCE_SECONDS:.0f} s")
        yield [record for record in records if record.offset < ends.get(record.partition, 0)]


def _fold_into(lineages: dict[str, Lineage], record: Record) -> Folded:
    folded = fold(record, lineages.get)
    if folded.lineage is not None:
        lineages[folded.lineage.lineage_id] = folded.lineage
    return folded
