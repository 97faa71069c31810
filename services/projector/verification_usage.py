"""Are the sums of uses what the log says? Counted anew, and compared share by share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from events.keeper.snapshot import Snapshot, Table
from events.keeper.spool import SHARES
from events.keeper.verification import Progress, differences, ends_to_compare
from events.lineage import Lineage
from events.log import LogReader
from events.log_reading import records_before
from services.projector.verification_uses import CountedUses, SpooledRows


async def compare_usage(
    tables: Snapshot,
    reader: LogReader,
    topic: str,
    lineages: Mapping[str, Lineage],
    on_progress: Progress = lambda done, total: None,
) -> list[str]:
    """One sentence for each row that differs, for what the tables had at their moment.

    `lineages` are those that Postgres knows. Uses and rows are on disk meanwhile: see `verification_uses`.
    """
    ends, found = await ends_to_compare(tables, reader, topic)
    partitions = len(await reader.end_offsets())
    done = 0
    with CountedUses(lineages.values(), partitions) as counted:
        async for records in records_before(reader, ends):
            for record in records:
                counted.add(record)
            done += len(records)
            on_progress(done, sum(ends.values()))
        counted.count()
        for query, name, wanted in (
            ("all_hours", "use of key {}, hour {}", counted.hours),
            ("all_months", "use of key {}, month {}, endpoint {}", counted.months),
            ("all_days", "use on day {}, service {}, of keys of partition {}", counted.days),
            ("all_last_uses", "last use of key {}", counted.last),
            ("all_progress", "progress of partition {}", counted.progress),
        ):
            found += _differences(wanted, tables[query], name)
    return found


def _differences(wanted: SpooledRows, found: Table, name: str) -> Iterator[str]:
    for number in range(SHARES):
        yield from differences(
            wanted.share(number),
            dict(found.spool.share(number)),
            found.columns,
            lambda place: name.format(*place),
        )
