"""What billing reads from its environment, all of it checked before anything connects."""

from __future__ import annotations

from pydantic import Field

from events.keeper.settings import Group, KeeperSettings, Port, SessionSeconds


class BillingSettings(KeeperSettings):
    """Settings of `hokusai-auth billing`: its own, the log's and the topics', all checked at once."""

    metrics_port: Port = Field(default=9102, alias="METRICS_PORT")
    group: Group = Field(default="billing", alias="BILLING_GROUP")
    session_timeout_seconds: SessionSeconds = Field(default=10.0, alias="BILLING_SESSION_TIMEOUT_SECONDS")
    closing_interval_seconds: float = Field(
        default=5.0,
        alias="BILLING_CLOSING_INTERVAL_SECONDS",
        gt=0,
        le=3600,
        description="how often it looks whether a month is due",
    )
