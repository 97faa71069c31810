"""What the processors announce: hourly totals, closed months, and what each node has counted in an hour."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from events.envelope import CloudEvent, Count, Fact, KeyId, Positive, Text, UtcTime

#: Any later, and it is no time that Python and Postgres know.
LAST_HOUR = 70_389_527
#: Sums grow beyond what one event may state, up to what Postgres keeps.
LARGEST_SUM = 2**63 - 1
DECIMAL = r"^-?[0-9]{1,20}(\.[0-9]{1,12})?$"


def _begins_an_hour(time: datetime) -> datetime:
    if time.minute or time.second or time.microsecond:
        raise ValueError("not the beginning of an hour")
    return time


def _exact(value: Any) -> Decimal:
    text = f"{value:f}" if isinstance(value, Decimal) else value
    if isinstance(text, str) and re.fullmatch(DECIMAL, text):
        return Decimal(text)
    raise ValueError("not a decimal number as text")


HOUR_SECONDS = 3600

Month = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")]
Hour = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}$")]
HourBegin = Annotated[UtcTime, AfterValidator(_begins_an_hour)]
Sum = Annotated[int, Field(ge=0, le=LARGEST_SUM)]
Difference = Annotated[int, Field(ge=-LARGEST_SUM, le=LARGEST_SUM)]
#: For each key and hour the revision of its totals.
Revisions = dict[KeyId, dict[Hour, Positive]]
Digest = Annotated[
    str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of all revisions, the same for every part")
]
#: The first part is the statement itself.
PartNumber = Annotated[int, Field(ge=2, le=10_000)]
#: In JSON a text, never a number: a reader's float would round it.
Exact = Annotated[
    Decimal,
    BeforeValidator(_exact),
    PlainSerializer(lambda value: f"{value:f}", return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": DECIMAL}),
]


class HourlyTotals(Fact):
    """All that is known of a key's use in one hour (UTC), late events included.

    Absolute: each record replaces those of lower revisions. `revision` grows with every change and follows
    from the log alone, so a rebuild announces the same. Times are summed in microseconds, exactly. A use that
    was counted is withdrawn when a record of the same use precedes it in another partition: sums may shrink.
    """

    key_id: KeyId
    lineage_id: KeyId
    service_id: Annotated[Text, Field(description="the service that the key was issued for")]
    hour: Annotated[HourBegin, Field(description="when the hour begins")]
    revision: Positive
    requests: Count
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

    @model_validator(mode="after")
    def _names_one_row(self) -> Self:
        if self.subject != self.data.key_id:
            raise ValueError("subject and key_id of hourly totals must be equal")
        if self.partitionkey != f"{self.data.key_id}/{hour_text(self.data.hour)}":
            raise ValueError("partitionkey of hourly totals must be key_id/hour")
        return self


class WindowCount(Fact):
    """A record of `ratelimit.counters`: all that one node has counted for a lineage in one clock hour.

    A node is an api with all its workers (`validations`: requests it admitted), or a key whose use was
    reported (`reports`). Counts are absolute and only grow: the highest of each node is right. No CloudEvent,
    because nodes send many of them and nobody keeps them.
    """

    type: Literal["hokusai.auth.WindowCount.v1"] = "hokusai.auth.WindowCount.v1"
    node_id: Text
    kind: Literal["validations", "reports"]
    lineage_id: KeyId
    hour: Annotated[int, Field(ge=0, le=LAST_HOUR, description="whole hours since 1970, UTC")]
    count: Count
    last_used: Annotated[
        dict[KeyId, Annotated[int, Field(ge=0, lt=(LAST_HOUR + 1) * 3_600_000)]],
        Field(description="when each key of the lineage was last admitted, ms since 1970"),
    ] = Field(default_factory=dict)


class StatementLine(Fact):
    """What a month costs, or what late use of an earlier month adds to what was billed for it.

    `billable_predictions` are those over the monthly limit. Amounts are exact, in the statement's currency.
    """

    kind: Literal["usage", "adjustment"]
    month: Month
    requests: Difference
    predictions: Difference
    compute_us: Difference
    billable_predictions: Difference
    unit_price: Exact
    amount: Exact


class Statement(Fact):
    """One lineage's closed month. The first line is the month's own use; adjustments follow by month.

    `revisions` names, for each key and hour that a line was computed from, the revision of its totals. Where
    they are more than a record takes, this is the first of `parts`: the others are `StatementRevisions` with
    the same `digest`, which is of all `revisions` together.
    """

    lineage_id: KeyId
    month: Month
    currency: Literal["USD"] = "USD"
    billing_plan: Text
    monthly_prediction_limit: Count | None = None
    lines: Annotated[tuple[StatementLine, ...], Field(min_length=1)]
    total: Exact
    revisions: Revisions
    parts: PartNumber | None = None
    digest: Digest | None = None

    @model_validator(mode="after")
    def _names_its_parts(self) -> Self:
        if (self.parts is None) != (self.digest is None):
            raise ValueError("a statement has both parts and digest, or neither")
        return self


class StatementClosed(CloudEvent):
    """A record of `billing.statements`: the first of each (lineage, month) is the statement, for ever."""

    type: Literal["hokusai.auth.StatementClosed.v1"] = "hokusai.auth.StatementClosed.v1"
    subject: Annotated[KeyId, Field(description="lineage_id")]
    partitionkey: Annotated[Text, Field(description="lineage_id/month")]
    data: Statement

    @model_validator(mode="after")
    def _names_one_statement(self) -> Self:
        if self.subject != self.data.lineage_id:
            raise ValueError("subject and lineage_id of a statement must be equal")
        if self.partitionkey != f"{self.data.lineage_id}/{self.data.month}":
            raise ValueError("partitionkey of a statement must be lineage_id/month")
        return self


class RevisionsPart(Fact):
    """More `revisions` of the statement of a lineage's month that has the same `digest`."""

    lineage_id: KeyId
    month: Month
    digest: Digest
    part: PartNumber
    parts: PartNumber
    revisions: Revisions


class StatementRevisions(CloudEvent):
    """A record of `billing.statements`: a further part of a statement, appended before its `StatementClosed`.

    It counts only with the statement of its lineage and month, and only where both have one digest.
    """

    type: Literal["hokusai.auth.StatementRevisions.v1"] = "hokusai.auth.StatementRevisions.v1"
    subject: Annotated[KeyId, Field(description="lineage_id")]
    partitionkey: Annotated[Text, Field(description="lineage_id/month/part")]
    data: RevisionsPart

    @model_validator(mode="after")
    def _names_one_part(self) -> Self:
        part = self.data
        if self.subject != part.lineage_id or part.part > part.parts:
            raise ValueError("subject and lineage_id must be equal, and part one of parts")
        if self.partitionkey != f"{part.lineage_id}/{part.month}/{part.part}":
            raise ValueError("partitionkey of a part must be lineage_id/month/part")
        return self


def hour_number(seconds: float) -> int:
    """The clock hour of a moment (seconds since 1970), as window counts number it."""
    return int(seconds // HOUR_SECONDS)


def hour_text(hour: datetime) -> str:
    """The hour that begins then, as statements and record keys name it in UTC: `2026-11-24T10`."""
    return f"{hour.astimezone(UTC):%Y-%m-%dT%H}"
