"""What the processors announce: hourly totals, closed months, and what each node has counted in an hour."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from events.envelope import CloudEvent, Count, Fact, KeyId, Positive, Text, UtcTime

Month = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")]
Hour = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}$")]
Sum = Annotated[int, Field(ge=0)]


class HourlyTotals(Fact):
    """All that is known of a key's use in one hour (UTC), late events included.

    Absolute: each record replaces those of lower revisions. `revision` is the number of distinct events
    summed up, so a rebuild announces the same. Times are summed in microseconds, exactly.
    """

    key_id: KeyId
    lineage_id: KeyId
    service_id: Annotated[Text, Field(description="the service that the key was issued for")]
    hour: Annotated[UtcTime, Field(description="when the hour begins")]
    revision: Positive
    requests: Positive
    errors: Annotated[Sum, Field(description="requests answered with a status of 400 or more")]
    predictions: Sum
    compute_us: Sum
    response_time_us: Sum


class HourlyUsage(CloudEvent):
    """A record of `usage.hourly`. Whoever keeps the highest revision of each (key_id, hour) is exact."""

    type: Literal["hokusai.auth.HourlyUsage.v1"] = "hokusai.auth.HourlyUsage.v1"
    subject: KeyId
    partitionkey: Annotated[Text, Field(description="key_id/hour: what the topic is compacted by")]
    data: HourlyTotals


class WindowCount(Fact):
    """A record of `ratelimit.counters`: all that one node has counted for a lineage in one clock hour.

    A node is one start of a worker (`validations`: requests it admitted), or a key whose use was reported
    (`reports`). Counts are absolute and only grow: the highest of each node is right. No CloudEvent, because
    nodes send many of them and nobody keeps them.
    """

    type: Literal["hokusai.auth.WindowCount.v1"] = "hokusai.auth.WindowCount.v1"
    node_id: Text
    kind: Literal["validations", "reports"]
    lineage_id: KeyId
    hour: Annotated[Count, Field(description="whole hours since 1970, UTC")]
    count: Count
    last_used: Annotated[
        dict[KeyId, Count],
        Field(description="when each key of the lineage was last admitted, ms since 1970"),
    ] = Field(default_factory=dict)


class StatementLine(Fact):
    """What a month costs, or what late use of an earlier month adds to what was billed for it.

    `billable_predictions` are those over the monthly limit. Amounts are exact, in the statement's currency.
    """

    kind: Literal["usage", "adjustment"]
    month: Month
    requests: int
    predictions: int
    compute_us: int
    billable_predictions: int
    unit_price: Decimal
    amount: Decimal


class Statement(Fact):
    """One lineage's closed month. The first line is the month's own use; adjustments follow by month.

    `revisions` names, for each key and hour that a line was computed from, the revision of its totals.
    """

    lineage_id: KeyId
    month: Month
    currency: Literal["USD"] = "USD"
    billing_plan: Text
    monthly_prediction_limit: Count | None = None
    lines: Annotated[tuple[StatementLine, ...], Field(min_length=1)]
    total: Decimal
    revisions: dict[KeyId, dict[Hour, Positive]]


class StatementClosed(CloudEvent):
    """A record of `billing.statements`: the first of each (lineage, month) is the statement, for ever."""

    type: Literal["hokusai.auth.StatementClosed.v1"] = "hokusai.auth.StatementClosed.v1"
    subject: Annotated[KeyId, Field(description="lineage_id")]
    partitionkey: Annotated[Text, Field(description="lineage_id/month")]
    data: Statement


def hour_text(hour: datetime) -> str:
    """The hour that begins then, as statements and record keys name it: `2026-11-24T10`."""
    return f"{hour:%Y-%m-%dT%H}"
