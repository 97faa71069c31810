"""Records that are made without models say what the models would, to the byte."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.codec import encode
from events.envelope import LARGEST_INT
from events.totals import LARGEST_SUM, HourlyTotals, HourlyUsage, WindowCount
from services.projector.hourly_records import SOURCE, Totals, hourly_records, window_records
from services.projector.published import last_revisions, record_key, row_of
from tests.builders import StoredRecord

HOUR = datetime(2026, 3, 10, 12, tzinfo=UTC)
KEY, LINEAGE = "0190a0a0-0000-7000-8000-000000000001", "0190a0a0-0000-7000-8000-000000000002"

SUMS = st.integers(0, LARGEST_SUM)
ROWS = st.builds(
    Totals,
    key_id=st.uuids().map(str),
    lineage_id=st.uuids().map(str),
    service_id=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1),
    hour=st.integers(0, 500_000).map(lambda hours: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(hours=hours)),
    revision=st.integers(1, LARGEST_INT),
    requests=st.integers(0, LARGEST_INT),
    errors=SUMS,
    predictions=SUMS,
    compute_us=SUMS,
    response_time_us=SUMS,
)


@given(
    st.lists(ROWS, max_size=3),
    st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_they_are_the_bytes_of_the_codec(rows: list[Totals], now: datetime) -> None:
    hourly = [_hourly_usage(row, now) for row in rows]
    assert hourly_records(rows, now) == [(event.partitionkey.encode(), encode(event)) for event in hourly]
    windows = [_window_count(row) for row in rows]
    assert window_records(rows) == [(window.lineage_id.encode(), encode(window)) for window in windows]


@pytest.mark.parametrize("microsecond", [0, 120_000, 123_456])
@pytest.mark.parametrize(
    "service_id", ['a "quoted" one', "back\\slash", "new\nline\t\x01\x1f", "\x7f\u2028é😀", "a/b<c>&'"]
)
def test_so_they_are_for_odd_times_and_characters(service_id: str, microsecond: int) -> None:
    row, now = _totals(5)._replace(service_id=service_id), HOUR.replace(microsecond=microsecond)
    ((_, value),) = hourly_records([row], now)
    assert value == encode(_hourly_usage(row, now))


def test_the_same_totals_are_announced_under_the_same_id() -> None:
    ((key, value), (_, later)) = (hourly_records([_totals(5)], at)[0] for at in (HOUR, HOUR.replace(day=11)))
    assert value is not None
    assert later is not None
    assert f'"id":"{KEY}/2026-03-10T12/5"'.encode() in value
    assert value.replace(b"2026-03-10T12:00:00Z", b"", 1) == later.replace(b"2026-03-11T12:00:00Z", b"", 1)
    assert row_of(key) == (KEY, HOUR)
    assert last_revisions([StoredRecord(topic="usage.hourly", key=key, value=value)]) == {(KEY, HOUR): 5}


def test_reported_use_is_a_node_of_its_own() -> None:
    window = _window_count(_totals(5))
    assert window_records([_totals(5)]) == [(LINEAGE.encode(), encode(window))]
    assert (window.node_id, window.kind, window.count) == (KEY, "reports", 5)


def _hourly_usage(row: Totals, now: datetime) -> HourlyUsage:
    key = record_key(row.key_id, row.hour)
    return HourlyUsage(
        id=f"{key}/{row.revision}",
        source=SOURCE,
        time=now,
        subject=row.key_id,
        partitionkey=key,
        data=HourlyTotals(**row._asdict()),
    )


def _window_count(row: Totals) -> WindowCount:
    return WindowCount(
        node_id=row.key_id,
        kind="reports",
        lineage_id=row.lineage_id,
        hour=int(row.hour.timestamp()) // 3600,
        count=row.requests,
    )


def _totals(requests: int) -> Totals:
    return Totals(KEY, LINEAGE, "platform", HOUR, requests, requests, 1, 2, 3, 4)
