"""A process that keeps one schema from the log: all is made here, opened in order and closed in reverse."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from events.errors import LogUnavailable
from events.kafka_cluster import end_offsets
from events.kafka_log import KafkaEventLog
from events.keeper.database import address, connect, new_pool
from events.keeper.log_watch import LogWatch
from events.keeper.metrics import Metrics
from events.keeper.operations import operations, serve
from events.keeper.schema import (
    Schema,
    confirm_schema,
    has_goals,
    known_log,
    prepare_schema,
    remember_log,
    set_goals,
)
from events.keeper.settings import KeeperSettings
from events.log import EventLog
from events.log_identity import check_log
from events.projection import OUTAGES, Projection, ProjectionRunner
from events.together import run_all, run_together
from events.topics import Topic
from events.waiting import wait_for

#: A runner asks Kafka every second where the log ends; after this long without an answer it counts as away.
KAFKA_SILENCE_SECONDS = 5.0
PROBE_TIMEOUT_SECONDS = 2.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Opened:
    """What work beside the projections uses: open while it runs."""

    pool: AsyncConnectionPool[AsyncConnection[Any]]
    log: EventLog


#: Runs until the event is set, or is cancelled soon after; waits for outages by itself.
Work = Callable[[Opened, asyncio.Event], Coroutine[Any, Any, None]]
#: Asks the schema something for the metrics.
Probe = Callable[[AsyncConnection[Any]], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Kept:
    """What a service keeps. `topics` are those that the schema is filled from; `works` run beside."""

    schema: Schema
    topics: Sequence[Topic]
    projections: Sequence[Projection]
    works: Sequence[Work]
    probe: Probe


class Keeper:
    """One process that keeps a schema. Any number of them share the partitions."""

    def __init__(self, settings: KeeperSettings, kept: Kept, metrics: Metrics) -> None:
        """Connects nothing yet."""
        self._settings = settings
        self._kept = kept
        self._metrics = metrics
        self._postgres = address(settings.database_url)
        self._kafka = f"Kafka at {settings.bootstrap_servers}"
        self._watch = LogWatch(self._confirm_log, settings.log_check_seconds, metrics)
        self._pool = new_pool(settings.database_url, kept.schema.name)
        self._log = KafkaEventLog(settings, client_id=f"hokusai-auth {kept.schema.name}")
        self._runners = self._new_runners()

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
            await run_together(self._watch.run(), self._keep(stopping))

    async def _prepare(self, opened: AsyncExitStack) -> None:
        """Wait for Postgres and Kafka, whichever comes first, and see that both are ours."""
        await wait_for(self._postgres, self._prepare_schema, OUTAGES)
        await wait_for(f"{self._kafka} and {self._postgres}", self._watch.start, OUTAGES)
        await self._pool.open()
        opened.push_async_callback(self._pool.close, timeout=2)
        await wait_for(self._kafka, lambda: opened.enter_async_context(self._log), (LogUnavailable,))
        logger.info("keeping %s", ", ".join(projection.name for projection in self._kept.projections))

    async def _keep(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            self._runners = self._new_runners()
            pausing = asyncio.Event()
            opened = Opened(self._pool, self._log)
            running = [runner.run(pausing) for runner in self._runners]
            working = [work(opened, pausing) for work in self._kept.works]
            await run_together(run_all(*running, *working), self._pause(pausing, stopping))
            await run_together(_until(self._watch.ours), _until(stopping))

    async def _pause(self, pausing: asyncio.Event, stopping: asyncio.Event) -> None:
        await run_together(_until(stopping), _until(self._watch.wrong))
        pausing.set()
        await asyncio.Event().wait()  # the runners end by themselves, and this with them

    async def _prepare_schema(self) -> None:
        async with await self._connect() as connection:
            await prepare_schema(connection, self._kept.schema)

    async def _confirm_log(self) -> None:
        async with await self._connect() as connection:
            await confirm_schema(connection, self._kept.schema)
            known = await known_log(connection)
            found = await check_log(self._settings, self._settings, known, self._kept.topics)
            await remember_log(connection, found)
            if not await has_goals(connection):
                await set_goals(connection, await end_offsets(self._settings, self._kept.topics))

    async def _connect(self) -> AsyncConnection[Any]:
        return await connect(self._settings.database_url, self._kept.schema.name)

    def _new_runners(self) -> Sequence[ProjectionRunner]:
        return [
            ProjectionRunner(
                kafka=self._settings,
                pool=self._pool,
                log=self._log,
                projection=projection,
                group_id=self._settings.group_id(projection.name),
                metrics=self._metrics.of(projection.name),
                session_timeout_seconds=self._settings.session_timeout_seconds,
                confirm=partial(confirm_schema, schema=self._kept.schema),
            )
            for projection in self._kept.projections
        ]

    async def _checks(self) -> Mapping[str, bool]:
        silence_seconds = max(runner.silence_seconds for runner in self._runners)
        return {
            "database": await self._probe(),
            "kafka": silence_seconds < KAFKA_SILENCE_SECONDS,
            "log": self._watch.ours.is_set(),
        }

    async def _metrics_text(self) -> bytes:
        await self._probe()
        return self._metrics.text()

    async def _probe(self) -> bool:
        """Whether Postgres answers."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_SECONDS), self._pool.connection() as connection:
                await self._kept.probe(connection)
        except (TimeoutError, psycopg.Error):
            return False
        return True


async def _until(event: asyncio.Event) -> None:
    await event.wait()
