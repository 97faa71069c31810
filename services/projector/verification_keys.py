"""Are the rows of keys what the log says? Every row against the fold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from events.keeper.snapshot import Snapshot
from events.keeper.spool import Spool
from events.keeper.verification import Differences, Progress, differences_of_shares, ends_to_compare
from events.lineage import Lineage
from events.log import LogReader
from services.projector.replay import replay
from services.projector.rows import Row, event_row, key_rows, lineage_row

_EVENT = "{0[0]}@{0[1]}: the event"


async def compare_keys(
    tables: Snapshot,
    reader: LogReader,
    topic: str,
    lineages: dict[str, Lineage],
    found: Differences,
    on_progress: Progress = lambda done, total: None,
) -> None:
    """Add a sentence to `found` for each row that differs, for what the tables had at their moment.

    Leaves in `lineages` what the log comes to, up to the offsets that Postgres is at: some 2 kB of memory for
    each key. The audit trail, which grows for ever, is compared share by share.
    """
    ends, too_far = await ends_to_compare(tables, reader, topic)
    found.add(too_far)
    with Spool[Row, Row]() as events:
        done = 0
        async for outcomes in replay(reader, ends, lineages):
            for record, folded in outcomes:
                row = event_row(record, folded)
                events.add(row[1:3], row)
            done += len(outcomes)
            on_progress(done, sum(ends.values()))
        found.add(differences_of_shares(events, tables["all_events"], f"{topic}/{_EVENT}".format))
    found.add(_compare_lineages(tables, lineages.values()))
    found.add(_compare_keys(tables, lineages.values()))


def _compare_lineages(tables: Snapshot, lineages: Iterable[Lineage]) -> Iterator[str]:
    with Spool[Row, Row]() as wanted:
        for lineage in lineages:
            wanted.add((lineage.lineage_id,), lineage_row(lineage))
        yield from differences_of_shares(wanted, tables["all_lineages"], "lineage {0[0]}".format)


def _compare_keys(tables: Snapshot, lineages: Iterable[Lineage]) -> Iterator[str]:
    with Spool[Row, Row]() as wanted:
        for lineage in lineages:
            for row in key_rows(lineage):
                wanted.add(row[:2], row)
        yield from differences_of_shares(wanted, tables["all_keys"], "lineage {0[0]}, key {0[1]}".format)
