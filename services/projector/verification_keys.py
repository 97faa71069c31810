"""Are the rows of keys what the log says? Every row against the fold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from psycopg import AsyncConnection

from events.lifecycle import Folded
from events.lineage import Lineage
from events.log import LogReader, Record
from services.projector.replay import replay
from services.projector.rows import Row, event_row, key_rows, lineage_row
from services.projector.verification_tables import Progress, Table, differences, ends_to_compare, table


async def compare_keys(
    connection: AsyncConnection[Any],
    reader: LogReader,
    topic: str,
    lineages: dict[str, Lineage],
    on_progress: Progress = lambda done, total: None,
) -> list[str]:
    """One sentence for each row that differs, for what the connection's transaction sees.

    Leaves in `lineages` what the log comes to, up to the offsets that Postgres is at.
    """
    ends, found = await ends_to_compare(connection, reader, topic)
    counts = dict.fromkeys(ends, 0)
    async for outcomes in replay(reader, ends, lineages):
        found += await _compare_events(connection, topic, outcomes, counts)
        on_progress(sum(counts.values()), sum(ends.values()))
    found += _compare_counts(topic, counts, await table(connection, "count_events"))
    found += _compare_lineages(lineages, await table(connection, "all_lineages"))
    found += _compare_keys(lineages, await table(connection, "all_keys"))
    return found


async def _compare_events(
    connection: AsyncConnection[Any],
    topic: str,
    outcomes: Sequence[tuple[Record, Folded]],
    counts: dict[int, int],
) -> list[str]:
    """Compare a stretch of the log with the audit trail, and count its records by partition."""
    wanted: dict[int, dict[int, Row]] = {}
    for record, folded in outcomes:
        wanted.setdefault(record.partition, {})[record.offset] = event_row(record, folded)
    different: list[str] = []
    for partition, rows in wanted.items():
        counts[partition] += len(rows)
        found = await table(connection, "events_at", partition=partition, first=min(rows), last=max(rows))
        name = f"{topic}/{partition}@{{}}: the event".format
        different += differences(rows, found, lambda row: int(row[2]), name)
    return different


def _compare_counts(topic: str, wanted: Mapping[int, int], found: Table) -> Iterator[str]:
    """Rows of records that the log does not have, or not before the offset that Postgres is at."""
    counts: dict[int, int] = dict(found.rows)
    for partition in sorted(wanted.keys() | counts.keys()):
        if wanted.get(partition, 0) != counts.get(partition, 0):
            yield (
                f"{topic}/{partition}: {counts.get(partition, 0)} events in Postgres, "
                f"{wanted.get(partition, 0)} in the log"
            )


def _compare_lineages(lineages: Mapping[str, Lineage], found: Table) -> Iterator[str]:
    wanted = {lineage.lineage_id: lineage_row(lineage) for lineage in lineages.values()}
    return differences(wanted, found, lambda row: str(row[0]), "lineage {}".format)


def _compare_keys(lineages: Mapping[str, Lineage], found: Table) -> Iterator[str]:
    wanted = {row[:2]: row for lineage in lineages.values() for row in key_rows(lineage)}
    return differences(wanted, found, lambda row: row[:2], lambda at: f"lineage {at[0]}, key {at[1]}")
