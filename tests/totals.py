"""Totals as processors announce them, valid by default; overrides go by field name, as for events."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from events.envelope import Fact
from events.totals import (
    HourlyTotals,
    HourlyUsage,
    RevisionsPart,
    Statement,
    StatementClosed,
    StatementLine,
    StatementRevisions,
    WindowCount,
    hour_text,
)
from events.usage_progress import RECORD_KEY, PublishedUsage, UsagePublished
from tests.builders import fresh_id

HOUR = datetime(2026, 1, 31, 23, tzinfo=UTC)


def some_hourly_usage(**overrides: Any) -> HourlyUsage:
    """What a key that nobody has heard of used in the last hour of January, unless told otherwise."""
    data, envelope = _split(HourlyTotals, overrides)
    key_id, hour = data.setdefault("key_id", fresh_id()), data.setdefault("hour", HOUR)
    row, revision = f"{key_id}/{hour_text(hour)}", data.setdefault("revision", 3)
    sums = {
        "lineage_id": key_id,
        "service_id": "platform",
        "requests": revision,
        "errors": 1,
        "predictions": 9,
        "compute_us": 21_750,
        "response_time_us": 37_500,
    }
    fixed = {"id": f"{row}/{revision}", "source": "hokusai-auth/projector", "subject": key_id}
    return HourlyUsage(**{**fixed, "partitionkey": row, **envelope}, data=HourlyTotals(**{**sums, **data}))


def a_window_count(**overrides: Any) -> WindowCount:
    """What one start of a worker admitted for a lineage in the hour."""
    lineage_id = overrides.get("lineage_id", fresh_id())
    hours = int(HOUR.timestamp()) // 3600
    counted = {"node_id": "0123456789abcdef" * 2, "kind": "validations", "hour": hours, "count": 7}
    used = {lineage_id: int(HOUR.timestamp()) * 1000 + 1}
    return WindowCount(**{**counted, "lineage_id": lineage_id, "last_used": used, **overrides})


def a_statement_closed(**overrides: Any) -> StatementClosed:
    """A lineage's January: over its limit by 500 predictions; with a late use of December."""
    data, envelope = _split(Statement, overrides)
    lineage_id, month = data.setdefault("lineage_id", fresh_id()), data.setdefault("month", "2026-01")
    name = f"{lineage_id}/{month}"
    closed = {
        "billing_plan": "pro",
        "monthly_prediction_limit": 1000,
        "lines": (
            a_statement_line(month=month),
            a_statement_line(kind="adjustment", month="2025-12", amount=Decimal("-0.002000")),
        ),
        "total": Decimal("0.498000"),
        "revisions": {lineage_id: {"2025-12-31T23": 4, "2026-01-31T23": 3}},
    }
    fixed = {"id": name, "source": "hokusai-auth/billing", "subject": lineage_id, "partitionkey": name}
    times = {"time": datetime(2026, 2, 3, tzinfo=UTC)}
    return StatementClosed(**{**fixed, **times, **envelope}, data=Statement(**{**closed, **data}))


def some_statement_revisions(**overrides: Any) -> StatementRevisions:
    """The second part of a lineage's January."""
    data, envelope = _split(RevisionsPart, overrides)
    lineage_id, month = data.setdefault("lineage_id", fresh_id()), data.setdefault("month", "2026-01")
    name = f"{lineage_id}/{month}/{data.setdefault('part', 2)}"
    rest = {"digest": "0123456789abcdef" * 4, "parts": 2, "revisions": {lineage_id: {"2026-01-31T22": 5}}}
    fixed = {"id": name, "source": "hokusai-auth/billing", "subject": lineage_id, "partitionkey": name}
    times = {"time": datetime(2026, 2, 3, tzinfo=UTC)}
    return StatementRevisions(**{**fixed, **times, **envelope}, data=RevisionsPart(**{**rest, **data}))


def some_published_usage(complete_until: datetime = datetime(2100, 1, 1, tzinfo=UTC)) -> UsagePublished:
    """What the projector announces: all that was appended before then is in usage.hourly."""
    return UsagePublished(
        source="hokusai-auth/projector",
        subject=RECORD_KEY,
        partitionkey=RECORD_KEY,
        data=PublishedUsage(complete_until=complete_until),
    )


def a_statement_line(**overrides: Any) -> StatementLine:
    line = {
        "kind": "usage",
        "month": "2026-01",
        "requests": 3,
        "predictions": 1500,
        "compute_us": 21_750,
        "billable_predictions": 500,
        "unit_price": Decimal("0.001"),
        "amount": Decimal("0.500000"),
    }
    return StatementLine(**{**line, **overrides})


def _split(data: type[Fact], overrides: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Overrides of the data, and the others."""
    return (
        {name: value for name, value in overrides.items() if name in data.model_fields},
        {name: value for name, value in overrides.items() if name not in data.model_fields},
    )
