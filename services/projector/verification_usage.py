"""Are the sums of uses what the log says? Counted anew, without the SQL that has counted them before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import partial
from operator import itemgetter

from events.lineage import Lineage
from events.log import LogReader, Record
from events.log_reading import records_before
from events.usage import KeyUsed
from services.projector.rows import Row
from services.projector.usage_judging import judge
from services.projector.usage_rows import FIRST_ERROR_STATUS, microseconds
from services.projector.verification_tables import Progress, Tables, differences, ends_to_compare, table

_DAY = timedelta(days=1)


async def compare_usage(
    connection: Tables,
    reader: LogReader,
    topic: str,
    lineages: Mapping[str, Lineage],
    on_progress: Progress = lambda done, total: None,
) -> list[str]:
    """One sentence for each row that differs, for what the tables had at their moment.

    `lineages` are those that Postgres knows. Holds the identity of every use in memory.
    """
    ends, found = await ends_to_compare(connection, reader, topic)
    counted = CountedUses(lineages.values())
    done = 0
    async for records in records_before(reader, ends):
        for record in records:
            counted.add(record)
        done += len(records)
        on_progress(done, sum(ends.values()))
    for query, name, wanted in (
        ("all_hours", "use of key {}, hour {}", counted.hours),
        ("all_months", "use of key {}, month {}, endpoint {}", counted.months),
        ("all_days", "use on day {}, service {}, partition {}", counted.days),
        ("all_last_uses", "last use of key {}", counted.last),
        ("all_progress", "progress of partition {}", counted.progress),
    ):
        rows = {place: (*place, *values) for place, values in wanted.items()}
        found_rows = await table(connection, query)
        found += differences(rows, found_rows, itemgetter(slice(name.count("{}"))), partial(_name, name))
    return found


class CountedUses:
    """What the uses of a log come to. Each table has the values of a row by the row's place in it."""

    def __init__(self, lineages: Iterable[Lineage]) -> None:
        named = sorted(
            ((key.key_id, lineage.lineage_id) for lineage in lineages for key in lineage.keys), reverse=True
        )
        self._lineage_ids = dict(named)
        self._identities: set[tuple[date, str, str]] = set()
        self.hours: dict[Row, Row] = {}
        self.months: dict[Row, Row] = {}
        self.days: dict[Row, Row] = {}
        self.last: dict[Row, Row] = {}
        self.progress: dict[Row, Row] = {}

    def add(self, record: Record) -> None:
        """The next record of its partition."""
        appended_at = datetime.fromtimestamp(record.timestamp / 1000, UTC)
        _raise(self.progress, (record.partition,), appended_at)
        for event in judge(record):
            if isinstance(event, KeyUsed) and event.data.key_id in self._lineage_ids and self._is_new(event):
                self._count(record.partition, event)

    def _is_new(self, event: KeyUsed) -> bool:
        day, identity = event.time.date(), (event.data.key_id, event.id)
        is_new = not any((near, *identity) in self._identities for near in (day - _DAY, day, day + _DAY))
        self._identities.add((day, *identity))
        return is_new

    def _count(self, partition: int, event: KeyUsed) -> None:
        use, time = event.data, event.time
        lineage_id = self._lineage_ids[use.key_id]
        sums = (
            1,
            int(use.status_code >= FIRST_ERROR_STATUS),
            use.predictions_count,
            microseconds(use.compute_ms),
            microseconds(use.response_time_ms),
        )
        hour = time.replace(minute=0, second=0, microsecond=0)
        _sum_up(self.hours, (use.key_id, hour), (lineage_id,), sums)
        _sum_up(self.months, (use.key_id, time.date().replace(day=1), use.endpoint), (lineage_id,), sums)
        _sum_up(self.days, (time.date(), use.service_id, partition), (), sums)
        _raise(self.last, (use.key_id,), time)


def _name(name: str, place: Row) -> str:
    return name.format(*place)


def _sum_up(rows: dict[Row, Row], place: Row, facts: Row, sums: tuple[int, ...]) -> None:
    """Add to a row that begins with facts."""
    before = rows.get(place, (*facts, *(0,) * len(sums)))
    rows[place] = (*facts, *(a + b for a, b in zip(before[len(facts) :], sums, strict=True)))


def _raise(rows: dict[Row, Row], place: Row, time: datetime) -> None:
    """A row that keeps the latest time."""
    rows[place] = (max(time, rows[place][0]) if place in rows else time,)
