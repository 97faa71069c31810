"""Uses as rows for the roll-up: when, whose, how much. The order of columns is that of `usage.sql`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, timedelta

from events.usage import KeyUsed
from services.projector.rows import Row

FIRST_ERROR_STATUS = 400
_DAY = timedelta(days=1)


def usage_rows(events: Iterable[KeyUsed], lineage_ids: Mapping[str, str]) -> list[Row]:
    """One row for each identity and day, of the first event that has them, in the order of the log.

    An event counts unless an earlier one of its identity is of the same day or a day beside it. The column
    `is_first` says so of the batch; what earlier batches had, only the database knows. `lineage_ids` has
    the lineage of every key.
    """
    days_of: dict[tuple[str, str], set[date]] = {}
    rows = []
    for event in events:
        days = days_of.setdefault((event.data.key_id, event.id), set())
        day = event.time.date()
        if day not in days:
            is_first = not days & {day - _DAY, day + _DAY}
            rows.append(_row(event, lineage_ids[event.data.key_id], day, is_first=is_first))
            days.add(day)
    return rows


def microseconds(milliseconds: float) -> int:
    """Whole ones: they add up to the same sum in any order."""
    return round(milliseconds * 1000)


def _row(event: KeyUsed, lineage_id: str, day: date, *, is_first: bool) -> Row:
    use = event.data
    return (
        day,
        use.key_id,
        event.id,
        is_first,
        lineage_id,
        event.time.replace(minute=0, second=0, microsecond=0),
        day.replace(day=1),
        use.endpoint,
        use.service_id,
        use.status_code >= FIRST_ERROR_STATUS,
        use.predictions_count,
        microseconds(use.compute_ms),
        microseconds(use.response_time_ms),
        event.time,
    )
