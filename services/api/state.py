"""What a worker has opened, and what its routes work with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from events.clock import Clock
from events.remembered import Remembered
from services.api.commands import KeyCommands
from services.api.directory.key_directory import KeyDirectory
from services.api.health import Health
from services.api.http.bearer_tokens import BearerTokens
from services.api.metrics import Metrics
from services.api.ports import ReadModels, UsageReadModels
from services.api.usage_commands import UsageCommands


@dataclass(frozen=True, slots=True)
class State:
    """Opened and closed by the lifespan, handed to the routes."""

    admin_tokens: BearerTokens
    clock: Clock
    commands: KeyCommands
    health: Health
    checks: Remembered[Mapping[str, bool]]
    metrics: Metrics
    metrics_text: Remembered[bytes]
    read_models: ReadModels
    usage_tokens: BearerTokens | None
    directory: KeyDirectory
    usage_commands: UsageCommands
    usage_read_models: UsageReadModels
