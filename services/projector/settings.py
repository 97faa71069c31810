"""What the projector reads from its environment, all of it checked before anything connects."""

from __future__ import annotations

from pydantic import Field

from events.keeper.settings import KeeperSettings


class ProjectorSettings(KeeperSettings):
    """Settings of `hokusai-auth projector`: its own, the log's and the topics', all checked at once."""

    metrics_port: int = Field(default=9101, alias="METRICS_PORT", ge=1, le=65535)
    group: str = Field(
        default="projector",
        alias="PROJECTOR_GROUP",
        pattern=r"^[a-zA-Z0-9._-]{1,100}$",
        description="projectors that share the partitions among them",
    )
    session_timeout_seconds: float = Field(
        default=10.0,
        alias="PROJECTOR_SESSION_TIMEOUT_SECONDS",
        ge=1,
        le=300,
        description="how long a silent projector keeps its partitions",
    )


class WindowsSettings(ProjectorSettings):
    """Settings of `hokusai-auth projector --part windows`: the same, on a port of its own."""

    metrics_port: int = Field(default=9103, alias="METRICS_PORT", ge=1, le=65535)
