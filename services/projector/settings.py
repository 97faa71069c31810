"""What the projector reads from its environment, all of it checked before anything connects."""

from __future__ import annotations

from pydantic import Field

from events.keeper.settings import Group, KeeperSettings, Port, SessionSeconds


class ProjectorSettings(KeeperSettings):
    """Settings of `hokusai-auth projector`: its own, the log's and the topics', all checked at once."""

    metrics_port: Port = Field(default=9101, alias="METRICS_PORT")
    group: Group = Field(default="projector", alias="PROJECTOR_GROUP")
    session_timeout_seconds: SessionSeconds = Field(default=10.0, alias="PROJECTOR_SESSION_TIMEOUT_SECONDS")


class WindowsSettings(ProjectorSettings):
    """Settings of `hokusai-auth projector --part windows`: the same, on a port of its own."""

    metrics_port: Port = Field(default=9103, alias="METRICS_PORT")
