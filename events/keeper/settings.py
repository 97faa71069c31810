"""What every keeper of a schema reads from its environment, all of it checked before anything connects."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from events.database_url import DatabaseUrl
from events.process_logs import LoggingSettings
from events.topics import LogSettings

Port = Annotated[int, Field(ge=1, le=65535)]
Group = Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,100}$")]
SessionSeconds = Annotated[float, Field(ge=1, le=300)]


class KeeperSettings(LogSettings, LoggingSettings):
    """Settings of a process that keeps a schema; a service adds its own, and names its group and port."""

    database_url: DatabaseUrl = Field(alias="DATABASE_URL", repr=False)
    metrics_host: str = Field(default="127.0.0.1", alias="METRICS_HOST", min_length=1)
    metrics_port: Port = Field(alias="METRICS_PORT")
    group: Group = Field(description="processes that share the partitions among them")
    session_timeout_seconds: SessionSeconds = Field(description="how long a silent one keeps its partitions")
    longest_transaction_seconds: float = Field(
        default=60.0,
        alias="LONGEST_TRANSACTION_SECONDS",
        gt=0,
        description="how long a transaction of a foreign producer may be open",
    )
    log_check_seconds: float = Field(default=60.0, alias="LOG_CHECK_SECONDS", gt=0)

    def group_id(self, projection: str) -> str:
        """The consumer group of a projection, apart from those of other prefixes."""
        return f"{self.prefix}{self.group}.{projection}"
