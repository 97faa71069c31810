"""A batch becomes one row for each identity and day, the first of them marked; times add up exactly."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta

from services.projector.usage_rows import microseconds, usage_rows
from tests.builders import fresh_id, some_usage

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
KEY = fresh_id()


def test_the_first_of_an_identity_counts_unless_days_lie_between() -> None:
    days = [0, 0, 1, 3, 2, -1]
    events = [
        some_usage(key_id=KEY, id="one", time=MIDNIGHT + timedelta(days=day), predictions_count=n)
        for n, day in enumerate(days)
    ]
    rows = usage_rows(events, {KEY: "lineage"})
    assert [(row[0], row[3], row[10]) for row in rows] == [
        (date(2026, 3, 1), True, 0),
        (date(2026, 3, 2), False, 2),
        (date(2026, 3, 4), True, 3),
        (date(2026, 3, 3), False, 4),
        (date(2026, 2, 28), False, 5),
    ]


def test_hours_days_and_months_are_those_of_utc() -> None:
    event = some_usage(key_id=KEY, time=datetime.fromisoformat("2026-03-01T01:30:00+02:00"))
    (row,) = usage_rows([event], {KEY: "lineage"})
    assert (row[0], row[5], row[6]) == (
        date(2026, 2, 28),
        datetime(2026, 2, 28, 23, tzinfo=UTC),
        date(2026, 2, 1),
    )


def test_an_error_is_a_status_of_400_or_more() -> None:
    rows = usage_rows([some_usage(key_id=KEY, status_code=code) for code in (0, 399, 400, 999)], {KEY: "l"})
    assert [row[9] for row in rows] == [False, False, True, True]


def test_times_add_up_to_the_same_sum_in_any_order() -> None:
    times = [random.random() * 1000 for _ in range(1000)]
    assert sum(map(microseconds, times)) == sum(map(microseconds, sorted(times)))
    assert microseconds(0.1) + microseconds(0.2) == microseconds(0.3)
