"""The public JSON of the usage routes."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from events.envelope import NO_NUL
from events.shown_keys import hide_keys
from events.usage import LONGEST_MS, MOST_PREDICTIONS, Usage
from services.api.schemas import Problem, Time
from services.api.usage_read_models import Charges, DayOfUse, MonthOfUse, Sums

FIRST_YEAR = 1970
US_PER_MS = 1000
COUNTS_ONCE = "within 35 days counts once; later it is another use"


def _a_time(text: object) -> object:
    if not isinstance(text, str):
        return text
    try:
        read = datetime.fromisoformat(text)
        read = read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("must be an ISO date-time") from None
    if read.year < FIRST_YEAR:
        raise ValueError(f"must not lie before {FIRST_YEAR}")
    return read


def _an_end(text: object) -> object:
    """A day that is named as an end is meant as a whole."""
    end = _a_time(text)
    try:
        day = date.fromisoformat(str(text))
    except ValueError:
        return end
    return datetime.combine(day, time.max, UTC)


def _whole(number: object) -> object:
    """To JSON Schema, and to some writers, 200.0 is an integer."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


def _no_key(text: str) -> str:
    if hide_keys(text) != text:
        raise ValueError("must not contain an API key")
    return text


#: Without a zone it is UTC, without a time midnight; as an end the last moment of that day.
DateTime = Annotated[
    datetime, BeforeValidator(_a_time), WithJsonSchema({"type": "string", "format": "date-time"})
]
EndDateTime = Annotated[
    datetime, BeforeValidator(_an_end), WithJsonSchema({"type": "string", "format": "date-time"})
]
Period = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{3}-(0[1-9]|1[0-2])$")]
ServiceName = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=255, pattern=NO_NUL)]
Endpoint = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=512, pattern=NO_NUL)]
Milliseconds = Annotated[float, Field(strict=True, ge=0, le=LONGEST_MS, allow_inf_nan=False)]
IdempotencyKey = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=255, pattern=r"^[!-~]*$"),
    BeforeValidator(lambda text: _no_key(text) if isinstance(text, str) else text),
]


class RecordUsage(BaseModel):
    """A request that a service has served for a key. Unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore")

    service_id: ServiceName
    endpoint: Endpoint
    status_code: Annotated[int, Field(strict=True, ge=0, le=999), BeforeValidator(_whole)]
    response_time_ms: Milliseconds
    predictions_count: Annotated[
        int, Field(strict=True, ge=0, le=MOST_PREDICTIONS), BeforeValidator(_whole)
    ] = 0
    compute_ms: Milliseconds = 0

    def use_of(self, key_id: str) -> Usage:
        """As the log keeps it."""
        return Usage(
            key_id=key_id,
            service_id=self.service_id,
            endpoint=self.endpoint,
            status_code=self.status_code,
            response_time_ms=self.response_time_ms,
            predictions_count=self.predictions_count,
            compute_ms=self.compute_ms,
        )


class DebitUsage(RecordUsage):
    """The same, told before the request is served."""

    idempotency_key: IdempotencyKey = Field(
        description=f"a debit that is reported again under it {COUNTS_ONCE}"
    )
    model_id: Any = Field(default=None, description="not kept")


class UnconfirmedUsage(Problem):
    """A use that may still be recorded. Reported again with this `Idempotency-Key` it counts once."""

    idempotency_key: str


class EndpointCount(BaseModel):
    endpoint: str
    count: int


class UsageStats(BaseModel):
    """What all keys of a key's lineage used in a month (UTC)."""

    key_id: str
    period: Period
    total_requests: int
    total_predictions: int
    total_compute_ms: int | float
    average_response_time_ms: int | float
    error_rate: float = Field(description="0 to 1: requests answered with a status of 400 or more")
    top_endpoints: list[EndpointCount] = Field(description="the ten largest, largest first")

    @classmethod
    def of(cls, key_id: str, period: date, month: MonthOfUse) -> Self:
        sums = month.sums
        return cls(
            key_id=key_id,
            period=f"{period:%Y-%m}",
            total_requests=sums.requests,
            total_predictions=sums.predictions,
            total_compute_ms=_milliseconds(sums.compute_us),
            average_response_time_ms=_average_response_time_ms(sums),
            error_rate=sums.errors / sums.requests if sums.requests else 0,
            top_endpoints=[
                EndpointCount(endpoint=endpoint, count=count) for endpoint, count in month.top_endpoints
            ],
        )


class CurrentUsage(BaseModel):
    requests: int
    predictions: int
    compute_ms: int | float


class UsageBilling(BaseModel):
    """What a key's lineage has used in this month (UTC), and what that costs beyond its plan."""

    key_id: str
    billing_plan: str
    current_usage: CurrentUsage
    monthly_limit: int | None
    overage_charges: float = Field(description="USD")
    next_billing_date: Time

    @classmethod
    def of(
        cls, key_id: str, plan: str, monthly_limit: int | None, charges: Charges, end_of_month: datetime
    ) -> Self:
        return cls(
            key_id=key_id,
            billing_plan=plan,
            current_usage=CurrentUsage(
                requests=charges.requests,
                predictions=charges.predictions,
                compute_ms=_milliseconds(charges.compute_us),
            ),
            monthly_limit=monthly_limit,
            overage_charges=float(charges.overage),
            next_billing_date=end_of_month,
        )


class DayUsage(BaseModel):
    requests: int
    predictions: int
    compute_ms: int | float
    avg_response_time_ms: int | float


class UsageAggregate(BaseModel):
    """What the services have reported, by day (UTC) and service; whole days, those of both ends included."""

    start_date: Time
    end_date: Time
    usage_by_date: dict[str, dict[str, DayUsage]]

    @classmethod
    def of(cls, start: datetime, end: datetime, days: list[DayOfUse]) -> Self:
        by_date: dict[str, dict[str, DayUsage]] = {}
        for one in days:
            by_date.setdefault(one.day.isoformat(), {})[one.service_id] = DayUsage(
                requests=one.sums.requests,
                predictions=one.sums.predictions,
                compute_ms=_milliseconds(one.sums.compute_us),
                avg_response_time_ms=_average_response_time_ms(one.sums),
            )
        return cls(start_date=start, end_date=end, usage_by_date=by_date)


def _average_response_time_ms(sums: Sums) -> int | float:
    """To the microsecond."""
    return _milliseconds(round(sums.response_time_us / sums.requests)) if sums.requests else 0


def _milliseconds(us: int) -> int | float:
    """A whole number where it is one."""
    whole, rest = divmod(us, US_PER_MS)
    return us / US_PER_MS if rest else whole
