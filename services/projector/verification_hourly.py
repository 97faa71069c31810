"""Does `usage.hourly` say what Postgres says? Its last record of each row beside the row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from events.codec import decode_total
from events.errors import UnreadableRecord
from events.keeper.snapshot import Snapshot
from events.keeper.spool import SHARES, Spool
from events.keeper.verification import Differences, Progress, differences, ends_to_compare
from events.log import LogReader, Record
from events.log_reading import read_through
from events.totals import HourlyTotals, HourlyUsage
from services.projector.published import RowName, last_revisions, record_key, row_of
from services.projector.rows import Row


class _Said(NamedTuple):
    """A record about a row. `is_later`: Postgres has not passed it."""

    record: Record
    is_later: bool


async def compare_published(
    tables: Snapshot,
    reader: LogReader,
    topic: str,
    usage_topic: str,
    found: Differences,
    on_progress: Progress = lambda done, total: None,
) -> None:
    """Add a sentence to `found` for each row that differs, for what the tables had at their moment.

    Rows that waited to be published are no difference, nor is a topic that is ahead of a rebuild, nor a row
    of which the topic says more by now: compaction may have removed what Postgres has passed.
    """
    positions, too_far = await ends_to_compare(tables, reader, topic)
    found.add(too_far)
    ends = await reader.end_offsets()
    is_filled = (usage_topic, True) in tables["all_filled"].rows
    with Spool[RowName, _Said]() as said:
        done = 0
        async for records in read_through(reader, ends):
            for record in records:
                if (row := row_of(record.key)) is not None:
                    said.add(row, _Said(record, record.offset >= positions.get(record.partition, 0)))
            done += len(records)
            on_progress(done, sum(ends.values()))
        for number in range(SHARES):
            found.add(_compare_share(tables, topic, number, said, is_filled=is_filled))


def _compare_share(
    tables: Snapshot, topic: str, number: int, said: Spool[RowName, _Said], *, is_filled: bool
) -> Iterator[str]:
    last, later = dict[RowName, Record](), set[Row]()
    for row, (record, is_later) in said.share(number):
        if is_later:
            later.add(row)
        else:
            last[row] = record
    published = tables["all_published"]
    yield from differences(
        _without(later, {row: (*row, revision) for row, revision in last_revisions(last.values()).items()}),
        _without(later, dict(published.spool.share(number))),
        published.columns,
        lambda row: f"what {topic} says about {record_key(*row)}",
    )
    totals = tables["all_totals"]
    waiting = later | {row for row, _ in tables["all_unpublished"].spool.share(number)}
    wanted = {
        row: _wanted(totals.columns, values)
        for row, values in _without(waiting, dict(totals.spool.share(number))).items()
    }
    stated = {row: _totals(record) for row, record in _without(waiting, last).items()}
    for row in wanted.keys() | stated.keys():
        place = f"{topic}, {record_key(*row)}"
        if problem := _problem(stated.get(row), wanted.get(row), is_filled=is_filled):
            yield f"{place}: {problem}"


def _problem(said: HourlyTotals | None, wanted: HourlyTotals | None, *, is_filled: bool) -> str | None:
    said_revision, revision = said.revision if said else 0, wanted.revision if wanted else 0
    if said_revision < revision:
        return f"at revision {said_revision}, behind Postgres with {revision}"
    if said_revision > revision:
        return f"at revision {said_revision}, ahead of Postgres with {revision}" if is_filled else None
    return "other totals than Postgres in the same revision" if said != wanted else None


def _without(left_out: set[Row], rows: Mapping[Any, Any]) -> dict[Any, Any]:
    return {row: values for row, values in rows.items() if row not in left_out}


def _totals(record: Record) -> HourlyTotals | None:
    try:
        event = decode_total(record.value)
    except UnreadableRecord:
        return None
    return event.data if isinstance(event, HourlyUsage) else None


def _wanted(columns: Any, row: Row) -> HourlyTotals:
    return HourlyTotals.model_validate(dict(zip(columns, row, strict=True)))
