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

from events.errors import LogLost, LogUnavailable, WrongLog
from events.kafka_cluster import end_offsets
from events.kafka_log import KafkaEventLog
from events.keeper.database import connect
from events.keeper.mark_trail import MarkTrail
from events.keeper.metrics import Metrics
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
from events.keeper.watched import KAFKA_SILENCE_SECONDS, PROBE_TIMEOUT_SECONDS, WatchedProcess
from events.log import BulkLog
from events.log_identity import check_log
from events.projection import OUTAGES, Projection
from events.projection_runner import ProjectionRunner
from events.remembered import Remembered
from events.together import run_all, run_together, until
from events.topics import Topic
from events.waiting import wait_for

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Opened:
    """What work beside the projections uses: open while it runs."""

    pool: AsyncConnectionPool[AsyncConnection[Any]]
    log: BulkLog


#: Goes on until it is cancelled; waits for outages by itself.
Work = Callable[[Opened], Coroutine[Any, Any, None]]
#: Asks the schema something for the metrics.
Probe = Callable[[AsyncConnection[Any]], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Kept:
    """What a service keeps. `topics` are those that the schema is filled from; `works` run beside.

    `checks` adds to what /ready says: what has to go on, and whether it does.
    """

    schema: Schema
    topics: Sequence[Topic]
    projections: Sequence[Projection]
    works: Sequence[Work]
    probe: Probe
    checks: Callable[[], Mapping[str, bool]] = dict


class Keeper(WatchedProcess):
    """One process that keeps a schema."""

    def __init__(self, settings: KeeperSettings, kept: Kept, metrics: Metrics) -> None:
        """Connects nothing yet."""
        super().__init__(settings, kept.schema.name, metrics)
        self._kept = kept
        self._marks = MarkTrail(settings, kept.topics)
        self._log = KafkaEventLog(settings, client_id=f"hokusai-auth {kept.schema.name}")
        self._runners = self._new_runners()
        self._answers = Remembered(self._probe)

    async def _prepare(self, opened: AsyncExitStack) -> None:
        """Wait for Postgres and Kafka, whichever comes first, and see that both are ours."""
        await wait_for(self._postgres, self._prepare_schema, OUTAGES)
        await wait_for(f"{self._kafka} and {self._postgres}", self._watch.start, OUTAGES)
        await self._pool.open()
        opened.push_async_callback(self._pool.close, timeout=2)
        await wait_for(self._kafka, lambda: opened.enter_async_context(self._log), (LogUnavailable,))
        logger.info("keeping %s", ", ".join(projection.name for projection in self._kept.projections))

    async def _keep_while_ours(self, stopping: asyncio.Event) -> None:
        self._runners = self._new_runners()
        pausing = asyncio.Event()
        opened = Opened(self._pool, self._log)
        running = [runner.run(pausing) for runner in self._runners]
        working = [run_together(work(opened), until(pausing)) for work in self._kept.works]
        try:
            await run_together(run_all(*running, *working), self._pause(pausing, stopping))
        except WrongLog as error:
            await self._wait_if_lost(error)

    async def _wait_if_lost(self, error: WrongLog) -> None:
        """Records that are lost are waited for, in the sight of whoever watches. Raises any other error."""
        try:
            await self._confirm_log()
        except LogLost as lost:
            self._watch.refuse(lost)
        except OUTAGES:
            raise error from None
        else:
            raise error

    async def _pause(self, pausing: asyncio.Event, stopping: asyncio.Event) -> None:
        await run_together(until(stopping), until(self._watch.wrong))
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
            await self._marks.confirm(connection)
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
                longest_transaction_seconds=self._settings.longest_transaction_seconds,
                confirm=partial(confirm_schema, schema=self._kept.schema),
                confirm_marks=self._marks.confirm,
                on_new_leader=self._watch.hurry,
            )
            for projection in self._kept.projections
        ]

    async def _checks(self) -> Mapping[str, bool]:
        silence_seconds = max(runner.status.silence_seconds for runner in self._runners)
        return {
            "database": await self._answers.get(),
            "kafka": silence_seconds < KAFKA_SILENCE_SECONDS,
            "log": self._watch.ours.is_set(),
            "progress": not any(runner.status.is_stuck for runner in self._runners),
            "transactions": not any(runner.status.is_held_up for runner in self._runners),
            **self._kept.checks(),
        }

    async def _metrics_text(self) -> bytes:
        await self._answers.get()
        return self._metrics.text()

    async def _probe(self) -> bool:
        """Whether Postgres answers."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_SECONDS), self._pool.connection() as connection:
                await self._kept.probe(connection)
        except (TimeoutError, psycopg.Error):
            return False
        return True
