"""The public JSON: bodies that callers send and answers that they get."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictInt,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from events.keys import Environment
from events.lineage import Key, KeySettings
from services.api.validation.addresses import parse_networks

MAX_INTEGER = 2**53 - 1
MAX_ITEMS = 100

#: What the command line sends instead of `expires_in_days`: a local time with `+<days>d` behind it.
_CLI_EXPIRY = re.compile(r"\+([0-9]{1,9})d\Z")


def _a_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must not contain control characters")
    if not text.strip():
        raise ValueError("must not be blank")
    return text


def _an_address(entry: str) -> str:
    try:
        parse_networks([entry])
    except ValueError:
        raise ValueError("must be an IP address or a CIDR network") from None
    return entry


def format_time(time: datetime) -> str:
    """To the second, as in `2025-01-15T10:30:00Z`."""
    return time.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


Line = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=100), AfterValidator(_a_line)]
Time = Annotated[
    datetime,
    PlainSerializer(format_time, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2025-01-15T10:30:00Z"]}),
]
ServiceId = Literal["prediction", "platform", "website", "ml-platform"]


class CreateKey(BaseModel):
    """A key to be created. Unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore")

    name: Line
    service_id: ServiceId
    scopes: Annotated[list[Line], Field(max_length=MAX_ITEMS)] = []
    environment: Environment = "production"
    expires_in_days: Annotated[StrictInt, Field(ge=1, le=365)] | None = Field(
        default=None, description="null: never expires"
    )
    rate_limit_per_hour: Annotated[StrictInt, Field(ge=10, le=100_000)] = 1000
    monthly_prediction_limit: Annotated[StrictInt, Field(ge=0, le=MAX_INTEGER)] | None = None
    allowed_ips: (
        Annotated[list[Annotated[Line, AfterValidator(_an_address)]], Field(max_length=MAX_ITEMS)] | None
    ) = Field(default=None, description="addresses or CIDR networks; empty or null: any")
    billing_plan: Line = "free"
    expires_at: Annotated[str, StringConstraints(strict=True, max_length=100)] | None = Field(
        default=None,
        deprecated=True,
        description="only as `<time>+<days>d`, which means `expires_in_days`",
    )

    @model_validator(mode="after")
    def _read_the_days_of_expires_at(self) -> Self:
        text = self.__dict__["expires_at"]
        if text is None:
            return self
        days = _CLI_EXPIRY.search(text)
        if days is None or not 1 <= int(days[1]) <= 365:
            raise ValueError("expires_at: use expires_in_days, 1 to 365")
        if self.expires_in_days not in (None, int(days[1])):
            raise ValueError("expires_at: contradicts expires_in_days")
        self.expires_in_days = int(days[1])
        return self

    def settings(self, user_id: str) -> KeySettings:
        """What this key and every later one of its lineage are made of."""
        return KeySettings(
            name=self.name,
            user_id=user_id,
            service_id=self.service_id,
            environment=self.environment,
            scopes=tuple(self.scopes),
            allowed_ips=tuple(self.allowed_ips or ()),
            rate_limit_per_hour=self.rate_limit_per_hour,
            monthly_prediction_limit=self.monthly_prediction_limit,
            billing_plan=self.billing_plan,
            lifetime_days=self.expires_in_days,
        )


class RotateKey(BaseModel):
    """How a key is to be replaced. The whole body may be left out."""

    model_config = ConfigDict(extra="ignore")

    grace_period_hours: Annotated[float, Field(strict=True, ge=0, le=8760, allow_inf_nan=False)] = Field(
        default=0, description="how long the old key lives on, at most to its own expiry"
    )

    @property
    def grace(self) -> timedelta:
        return timedelta(hours=self.grace_period_hours)


class ApiKeyInfo(BaseModel):
    """A key as the admin sees it; never its secret."""

    id: str = Field(description="the same as key_id")
    key_id: str
    name: str
    key_prefix: str
    user_id: str
    service_id: str
    scopes: list[str]
    environment: str
    is_active: bool = Field(description="neither revoked nor replaced; in grace still true")
    rate_limit_per_hour: int
    monthly_prediction_limit: int | None
    billing_plan: str
    created_at: Time
    expires_at: Time | None
    last_used_at: Time | None
    allowed_ips: list[str]

    @classmethod
    def of(cls, key: Key, now: datetime) -> Self:
        """A key as the log tells it."""
        settings = key.settings
        return cls(
            id=key.key_id,
            key_id=key.key_id,
            name=settings.name,
            key_prefix=key.key_prefix,
            user_id=settings.user_id,
            service_id=settings.service_id,
            scopes=list(settings.scopes),
            environment=settings.environment,
            is_active=key.is_active(now),
            rate_limit_per_hour=settings.rate_limit_per_hour,
            monthly_prediction_limit=settings.monthly_prediction_limit,
            billing_plan=settings.billing_plan,
            created_at=key.created_at,
            expires_at=key.expires_at,
            last_used_at=None,
            allowed_ips=list(settings.allowed_ips),
        )


class IssuedApiKey(BaseModel):
    """The one answer that carries the full key."""

    api_key: str = Field(repr=False)
    key_id: str
    key_info: ApiKeyInfo


class Message(BaseModel):
    message: str


class Problem(BaseModel):
    """What went wrong."""

    detail: str


class UnconfirmedChange(Problem):
    """A change that may still take effect, for the key with this id."""

    key_id: str


class Readiness(BaseModel):
    status: Literal["ready", "not ready"]
    checks: dict[str, bool]


class Health(BaseModel):
    status: Literal["ok", "unavailable"]


class ValidateKey(BaseModel):
    """What a caller asks about a key. Every field and the whole body may be left out."""

    api_key: str | None = Field(default=None, description="used where no header carries the key")
    service_id: str | None = None
    required_scope: str | None = None
    client_ip: str | None = Field(default=None, description="default: the peer's address")


class ValidKey(BaseModel):
    is_valid: Literal[True]
    key_id: str
    user_id: str
    service_id: str
    scopes: list[str] = Field(description="empty: full access within the service")
    rate_limit_per_hour: int
    billing_plan: str
    monthly_prediction_limit: int | None


class RefusedKey(BaseModel):
    is_valid: Literal[False]
    key_id: None
    user_id: None
    service_id: None
    scopes: None
    rate_limit_per_hour: None
    billing_plan: None
    monthly_prediction_limit: None
    error: str
