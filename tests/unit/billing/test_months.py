"""Months are UTC; each is due 48 hours after its end, to the second."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from services.billing.months import due_at, end_of, following, last_due, month_of, month_text

JANUARY, DECEMBER = date(2026, 1, 1), date(2025, 12, 1)


def test_a_month_is_due_48_hours_after_its_end() -> None:
    assert end_of(DECEMBER) == datetime(2026, 1, 1, tzinfo=UTC)
    assert due_at(JANUARY) == datetime(2026, 2, 3, tzinfo=UTC)


def test_a_moment_belongs_to_its_month_in_utc() -> None:
    assert month_of(datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=3)))) == DECEMBER


@pytest.mark.parametrize("month", [DECEMBER, JANUARY, date(2024, 2, 1)], ids=month_text)
def test_the_last_month_due_changes_in_the_very_second(month: date) -> None:
    assert last_due(due_at(month)) == month
    assert following(last_due(due_at(month) - timedelta(microseconds=1))) == month
    assert last_due(due_at(following(month)) - timedelta(seconds=1)) == month


def test_months_follow_each_other_over_the_years() -> None:
    assert following(DECEMBER) == JANUARY
    assert following(JANUARY) == date(2026, 2, 1)
    assert month_of(datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC)) == DECEMBER
    assert month_text(DECEMBER) == "2025-12"
