"""What billing reads from its environment, all of it checked before anything connects."""

from __future__ import annotations

from pydantic import Field

from events.keeper.settings import KeeperSettings


class BillingSettings(KeeperSettings):
    """Settings of `hokusai-auth billing`: its own, the log's and the topics', all checked at once."""

    metrics_port: int = Field(default=9102, alias="METRICS_PORT", ge=1, le=65535)
    group: str = Field(
        default="billing",
        alias="BILLING_GROUP",
        pattern=r"^[a-zA-Z0-9._-]{1,100}$",
        description="billing processes that share the partitions among them",
    )
    session_timeout_seconds: float = Field(
        default=10.0,
        alias="BILLING_SESSION_TIMEOUT_SECONDS",
        ge=1,
        le=300,
        description="how long a silent billing process keeps its partitions",
    )
    closing_interval_seconds: float = Field(
        default=5.0,
        alias="BILLING_CLOSING_INTERVAL_SECONDS",
        gt=0,
        le=3600,
        description="how often it looks whether a month is due",
    )
