"""Calendar months in UTC, and when each is due. A month is the date of its first day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

#: How long after its end a month waits for use that is told late.
GRACE = timedelta(hours=48)


def month_of(moment: datetime) -> date:
    """The month in UTC that an aware moment lies in."""
    return moment.astimezone(UTC).date().replace(day=1)


def following(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def end_of(month: date) -> datetime:
    """The moment the month is over, which is the first of the next one."""
    return datetime.combine(following(month), datetime.min.time(), UTC)


def due_at(month: date) -> datetime:
    """The moment from which on the month may be closed."""
    return end_of(month) + GRACE


def last_due(now: datetime) -> date:
    """The latest month that is due."""
    return _preceding(month_of(now - GRACE))


def month_text(month: date) -> str:
    """As statements and record keys name it: `2026-11`."""
    return month.isoformat()[:7]


def _preceding(month: date) -> date:
    return date(month.year - (month.month == 1), (month.month - 2) % 12 + 1, 1)
