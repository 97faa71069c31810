"""The projector: everything is made here, opened in order and closed in reverse."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack

import psycopg

from events.errors import LogUnavailable
from events.kafka_log import KafkaEventLog
from events.log_identity import check_log
from events.projection import OUTAGES, ProjectionRunner
from events.together import run_together
from events.waiting import wait_for
from services.projector.database import address, connect, new_pool
from services.projector.keys import KeysProjection
from services.projector.log_watch import LogWatch
from services.projector.metrics import Metrics
from services.projector.operations import operations, serve
from services.projector.schema import count_parked, known_cluster_id, prepare_schema, remember_cluster_id
from services.projector.settings import ProjectorSettings

#: The runner asks Kafka every second where the log ends; after this long without an answer it counts as away.
KAFKA_SILENCE_SECONDS = 5.0
PROBE_TIMEOUT_SECONDS = 2.0

logger = logging.getLogger(__name__)


class Projector:
    """One process that keeps the schema `projector`. Any number of them share the partitions."""

    def __init__(self, settings: ProjectorSettings) -> None:
        """Connects nothing yet."""
        self._settings = settings
        self._postgres = address(settings.database_url)
        self._kafka = f"Kafka at {settings.bootstrap_servers}"
        self._metrics = Metrics()
        self._projection = KeysProjection(settings)
        self._watch = LogWatch(self._confirm_log, settings.log_check_seconds, self._metrics)
        self._pool = new_pool(settings.database_url)
        self._log = KafkaEventLog(settings, client_id="hokusai-auth projector")
        self._runner = self._new_runner()

    async def run(self, stopping: asyncio.Event) -> None:
        """Run until `stopping` is set. Raises `SettingsError` or `WrongLog` where it refuses to."""
        async with AsyncExitStack() as opened:
            app = operations(self._checks, self._metrics_text)
            await run_together(
                serve(app, self._settings.metrics_host, self._settings.metrics_port),
                self._work(opened, stopping),
            )

    async def _work(self, opened: AsyncExitStack, stopping: asyncio.Event) -> None:
        await run_together(self._prepare(opened), _until(stopping))
        if not stopping.is_set():
            await run_together(self._watch.run(), self._project(stopping))

    async def _prepare(self, opened: AsyncExitStack) -> None:
        """Wait for Postgres and Kafka, whichever comes first, and see that both are ours."""
        await wait_for(self._postgres, self._prepare_schema, OUTAGES)
        await wait_for(f"{self._kafka} and {self._postgres}", self._watch.start, OUTAGES)
        await self._pool.open()
        opened.push_async_callback(self._pool.close, timeout=2)
        await wait_for(self._kafka, lambda: opened.enter_async_context(self._log), (LogUnavailable,))
        logger.info("projecting %s", self._projection.topic)

    async def _project(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            self._runner = self._new_runner()
            pausing = asyncio.Event()
            await run_together(self._runner.run(pausing), self._pause(pausing, stopping))
            await run_together(_until(self._watch.ours), _until(stopping))

    async def _pause(self, pausing: asyncio.Event, stopping: asyncio.Event) -> None:
        await run_together(_until(stopping), _until(self._watch.wrong))
        pausing.set()
        await asyncio.Event().wait()  # the runner ends by itself, and this with it

    async def _prepare_schema(self) -> None:
        async with await connect(self._settings.database_url) as connection:
            await prepare_schema(connection)

    async def _confirm_log(self) -> None:
        async with await connect(self._settings.database_url) as connection:
            known = await known_cluster_id(connection)
            found = await check_log(self._settings, self._settings, known)
            await remember_cluster_id(connection, found)

    def _new_runner(self) -> ProjectionRunner:
        return ProjectionRunner(
            kafka=self._settings,
            pool=self._pool,
            log=self._log,
            projection=self._projection,
            group_id=self._settings.group_id(self._projection.name),
            metrics=self._metrics.of(self._projection.name),
            session_timeout_seconds=self._settings.session_timeout_seconds,
        )

    async def _checks(self) -> Mapping[str, bool]:
        return {
            "database": await self._count_parked(),
            "kafka": self._runner.silence_seconds < KAFKA_SILENCE_SECONDS,
            "log": self._watch.ours.is_set(),
        }

    async def _metrics_text(self) -> bytes:
        await self._count_parked()
        return self._metrics.text()

    async def _count_parked(self) -> bool:
        """Whether Postgres answers."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_SECONDS), self._pool.connection() as connection:
                self._metrics.parked_lineages.set(await count_parked(connection))
        except (TimeoutError, psycopg.Error):
            return False
        return True


async def _until(event: asyncio.Event) -> None:
    await event.wait()
