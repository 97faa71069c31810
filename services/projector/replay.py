"""Fold `keys.lifecycle` from its first record: what every reader of the log must come to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

from events.lifecycle import Folded, fold
from events.lineage import Lineage
from events.log import LogReader, Record
from events.log_reading import records_before


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


def _fold_into(lineages: dict[str, Lineage], record: Record) -> Folded:
    folded = fold(record, lineages.get)
    if folded.lineage is not None:
        lineages[folded.lineage.lineage_id] = folded.lineage
    return folded
