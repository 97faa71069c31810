"""Hourly totals and the statements that follow from them, valid by default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from events.codec import encode
from events.topics import Topics
from events.totals import HourlyTotals, HourlyUsage, StatementClosed, hour_text
from services.billing.accounts import Account
from services.billing.drafting import LineageBooks, draft
from services.billing.months import month_of
from services.billing.rating import Charge, Use
from tests.builders import StoredRecord, fresh_id

TOPICS = Topics.from_environment({})
JANUARY, FEBRUARY, MARCH = (date(2026, month, 1) for month in (1, 2, 3))


def an_hour(key_id: str, day: date, **overrides: Any) -> HourlyUsage:
    """Totals of a key of that lineage in the first hour of a day, unless `lineage_id` and `hour` say else."""
    hour = datetime(day.year, day.month, day.day, overrides.pop("hour", 0), tzinfo=UTC)
    requests = overrides.setdefault("requests", overrides.get("revision", 1))
    partitionkey = f"{key_id}/{hour_text(hour)}"
    totals = {
        "key_id": key_id,
        "lineage_id": key_id,
        "service_id": "platform",
        "hour": hour,
        "revision": requests,
        "errors": 0,
        "predictions": requests,
        "compute_us": 1000 * requests,
        "response_time_us": 2000 * requests,
    }
    data = HourlyTotals(**{**totals, **overrides})
    return HourlyUsage(
        id=f"{partitionkey}/{data.revision}",
        source="hokusai-auth/projector",
        subject=key_id,
        partitionkey=partitionkey,
        data=data,
    )


def books(
    hours: Sequence[HourlyUsage],
    limit: int | None = 0,
    named: Mapping[tuple[str, datetime], int] | None = None,
    billed: Mapping[date, Charge] | None = None,
) -> LineageBooks:
    """The books of the lineage that all these hours are of, after statements that named these revisions."""
    named = named or {}
    unnamed = [
        one.data for one in hours if one.data.revision > named.get((one.data.key_id, one.data.hour), 0)
    ]
    months = {month_of(totals.hour) for totals in unnamed}
    return LineageBooks(
        Account(hours[0].data.lineage_id if hours else fresh_id(), "free", limit),
        {month: use_of([one for one in hours if month_of(one.data.hour) == month]) for month in months},
        sorted((totals.key_id, totals.hour, totals.revision) for totals in unnamed),
        billed or {},
    )


def use_of(hours: Sequence[HourlyUsage]) -> Use:
    """All of it together."""
    return Use(
        sum(one.data.requests for one in hours),
        sum(one.data.predictions for one in hours),
        sum(one.data.compute_us for one in hours),
    )


def a_statement(month: date = JANUARY, lineage_id: str | None = None, requests: int = 7) -> StatementClosed:
    """The statement of a lineage with one hour of use."""
    hour = an_hour(lineage_id or fresh_id(), month, requests=requests)
    return draft(books([hour]), month)


def record_of(event: HourlyUsage | StatementClosed, **place: Any) -> StoredRecord:
    """The record that the event travels in."""
    topic = "usage.hourly" if isinstance(event, HourlyUsage) else "billing.statements"
    return StoredRecord(
        **{"topic": topic, "key": event.partitionkey.encode(), "value": encode(event), **place}
    )
