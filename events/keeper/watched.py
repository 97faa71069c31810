"""A process that writes to a schema for as long as the log is ours: how it begins, pauses and ends."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AsyncExitStack

from events.keeper.database import address, new_pool
from events.keeper.log_watch import LogWatch
from events.keeper.metrics import Metrics
from events.keeper.operations import bind, operations, serve
from events.keeper.settings import KeeperSettings
from events.together import run_together, until

#: Kafka is asked every second where the log ends; after this long without an answer it counts as away.
KAFKA_SILENCE_SECONDS = 5.0
PROBE_TIMEOUT_SECONDS = 2.0


class WatchedProcess(ABC):
    """One process. Any number of them share the partitions."""

    def __init__(self, settings: KeeperSettings, schema_name: str, metrics: Metrics) -> None:
        """Connects nothing yet."""
        self._settings = settings
        self._metrics = metrics
        self._postgres = address(settings.database_url)
        self._kafka = f"Kafka at {settings.bootstrap_servers}"
        self._watch = LogWatch(self._confirm_log, settings.log_check_seconds, metrics)
        self._pool = new_pool(settings.database_url, schema_name)

    async def run(self, stopping: asyncio.Event) -> None:
        """Run until `stopping` is set. Raises `SettingsError` or `WrongLog` where it refuses to."""
        async with AsyncExitStack() as opened:
            app = operations(self._checks, self._metrics_text)
            listener = bind("METRICS_PORT", self._settings.metrics_host, self._settings.metrics_port)
            await run_together(serve(app, listener), self._work(opened, stopping))

    async def _work(self, opened: AsyncExitStack, stopping: asyncio.Event) -> None:
        await run_together(self._prepare(opened), until(stopping))
        if not stopping.is_set():
            await run_together(self._watch.run(), self._keep(stopping))

    async def _keep(self, stopping: asyncio.Event) -> None:
        while True:
            await run_together(until(self._watch.ours), until(stopping))
            if stopping.is_set():
                return
            await self._keep_while_ours(stopping)

    @abstractmethod
    async def _prepare(self, opened: AsyncExitStack) -> None:
        """Wait for Postgres and Kafka, see that both are ours, and open what is to be closed in the end."""

    @abstractmethod
    async def _keep_while_ours(self, stopping: asyncio.Event) -> None:
        """Work until the process is to stop or the log turns wrong."""

    @abstractmethod
    async def _confirm_log(self) -> None:
        """See `LogWatch`."""

    @abstractmethod
    async def _checks(self) -> Mapping[str, bool]:
        """Each dependency, and whether it is there."""

    @abstractmethod
    async def _metrics_text(self) -> bytes:
        """What `/metrics` answers."""
