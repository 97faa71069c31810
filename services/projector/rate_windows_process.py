"""The process around the Faust app: waits for what it needs, writes four times a second, stops in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import faust
import psycopg
from faust.types import TP
from psycopg import AsyncConnection
from psycopg.errors import UndefinedTable

from events.clock import Clock, boottime
from events.errors import LogUnavailable
from events.kafka_clients import log_unavailable
from events.kafka_decompression import bound_unpacking
from events.kafka_leader_epochs import watch_leaders
from events.keeper.database import connect
from events.keeper.mark_trail import MarkTrail
from events.keeper.metrics import Metrics
from events.keeper.schema import known_log
from events.keeper.watched import KAFKA_SILENCE_SECONDS, PROBE_TIMEOUT_SECONDS, WatchedProcess
from events.log_identity import LogIdentity, check_log
from events.progress import Progress
from events.projection import OUTAGES
from events.together import run_together, until
from events.waiting import wait_for
from services.projector.rate_windows import FAULT, all_windows, create_app, end_process, included_offsets
from services.projector.rate_windows_counts import oldest_hour
from services.projector.rate_windows_rows import SchemaMissing, SchemaRemade, look, write
from services.projector.rate_windows_unwritten import Unwritten
from services.projector.settings import WindowsSettings

SCHEMA = "projector"
WRITE_INTERVAL_SECONDS = 0.25
REPORT_INTERVAL_SECONDS = 1.0
CLOSE_SECONDS = 2.0
#: For the last write, and for leaving the group: both together well within the 10 s that a stop may take.
LAST_WRITE_SECONDS = 3.0
LEAVE_SECONDS = 3.0

logger = logging.getLogger(__name__)


async def run(settings: WindowsSettings, stopping: asyncio.Event) -> None:
    """Keep the rate windows until `stopping` is set. Raises `SettingsError` or `WrongLog`."""
    for name in ("faust", "mode"):  # they tell the life of every part of theirs
        logging.getLogger(name).setLevel(logging.WARNING)
    await WindowsProcess(settings).run(stopping)


class WindowsProcess(WatchedProcess):
    """One windows process."""

    def __init__(self, settings: WindowsSettings) -> None:
        """Connects nothing yet."""
        super().__init__(settings, SCHEMA, Metrics("windows"))
        self._topic = settings.rate_counters.name
        self._marks = MarkTrail(settings, [settings.rate_counters])
        self._clock = Clock(follows_steps=False)
        self._told = self._metrics.of("windows")
        self._made: int | None = None  # which making of the schema has what was written so far
        self._recovered = False
        self._progress = Progress()
        self._heard_at = -math.inf

    async def _prepare(self, opened: AsyncExitStack) -> None:
        await wait_for(f"schema {SCHEMA} in {self._postgres}", self._find_schema, (*OUTAGES, SchemaMissing))
        await wait_for(f"{self._kafka} and {self._postgres}", self._watch.start, OUTAGES)
        await self._pool.open()
        opened.push_async_callback(self._pool.close, timeout=CLOSE_SECONDS)

    async def _keep_while_ours(self, stopping: asyncio.Event) -> None:
        with tempfile.TemporaryDirectory(prefix="hokusai-auth-windows-") as folder:
            await self._count(Path(folder), stopping)

    async def _count(self, folder: Path, stopping: asyncio.Event) -> None:
        """Until it is time to stop, or the log is not ours."""
        unwritten = Unwritten()
        bound_unpacking()  # in the consumer of faust, too
        app = create_app(self._settings, unwritten, self._told, self._clock, folder)
        try:
            await run_together(
                self._count_and_write(app, unwritten), until(stopping), until(self._watch.wrong)
            )
        finally:
            try:
                if self._recovered and not self._watch.wrong.is_set():
                    await self._last_write(app, unwritten)
            finally:
                self._recovered = False
                await self._leave(app, folder, stopping)

    async def _count_and_write(self, app: faust.App, unwritten: Unwritten) -> None:
        await app.start()  # returns once the table is recovered
        self._recovered = True
        logger.info("keeping rate windows")
        await run_together(
            self._write_always(app, unwritten),
            self._report_always(app, unwritten),
            watch_leaders(self._settings, self._topic, self._watch.hurry),
            _crash_of(app),
        )

    async def _write_always(self, app: faust.App, unwritten: Unwritten) -> None:
        async def attempt() -> None:
            await self._write(app, unwritten)

        while True:
            await asyncio.sleep(WRITE_INTERVAL_SECONDS)
            await wait_for(f"{self._postgres}, to write rate windows", attempt, (*OUTAGES, SchemaMissing))

    async def _write(self, app: faust.App, unwritten: Unwritten) -> None:
        began, changes, oldest = time.perf_counter(), unwritten.changes(), oldest_hour(self._clock)
        try:
            async with self._pool.connection() as connection:
                passed = await write(connection, self._topic, changes, oldest, self._made)
        except SchemaRemade as remade:
            logger.info("writing every rate window: schema %s is new to this process", SCHEMA)
            unwritten.add_all(
                all_windows(app, self._clock), await _known_offsets(app, self._topic, unwritten)
            )
            self._made = remade.made
            return await self._write(app, unwritten)
        unwritten.written(changes, passed)
        for partition in passed:
            self._progress.advanced(partition)
        if behind := changes.stretches.keys() - passed:
            # What Postgres says of them is lower than what the group has committed: it was made anew, or an
            # owner that had been stopped has written once more.
            known = await _known_offsets(app, self._topic, unwritten)
            unwritten.add_all((), {partition: known[partition] for partition in behind & known.keys()})
        if changes.since is not None:
            seconds, age_seconds = time.perf_counter() - began, time.time() - changes.since
            self._told.batch_applied(0, changes.counters, seconds, age_seconds)
        return None

    async def _last_write(self, app: faust.App, unwritten: Unwritten) -> None:
        try:
            async with asyncio.timeout(LAST_WRITE_SECONDS):
                await self._write(app, unwritten)
        except (*OUTAGES, SchemaMissing, TimeoutError) as error:
            logger.warning("the last counts are not written, the next process does it: %s", error)

    async def _leave(self, app: faust.App, folder: Path, stopping: asyncio.Event) -> None:
        leaving = asyncio.create_task(app.stop())
        done, _ = await asyncio.wait({leaving}, timeout=LEAVE_SECONDS)
        if not done or leaving.exception():  # its thread waits for a broker that is away, come what may
            logger.warning("Kafka could not be told that this process leaves, it will notice")
            shutil.rmtree(folder, ignore_errors=True)
            end_process(0 if stopping.is_set() else FAULT)

    async def _report_always(self, app: faust.App, unwritten: Unwritten) -> None:
        told: set[int] = set()
        try:
            while True:
                await asyncio.sleep(REPORT_INTERVAL_SECONDS)
                try:
                    lags = await _lags(app, self._topic, unwritten)
                except LogUnavailable as error:
                    logger.debug("no word from Kafka: %s", error)
                    continue
                self._heard_at = boottime()
                self._forget(told - lags.keys())
                for partition, records in lags.items():
                    self._progress.seen(partition, records)
                    self._told.lag(partition, records)
                    oldest_seconds = self._progress.oldest_unapplied_seconds(partition)
                    self._told.oldest_unapplied(partition, oldest_seconds)
                told = set(lags)
        finally:
            self._forget(told)

    def _forget(self, partitions: Iterable[int]) -> None:
        for partition in partitions:
            self._progress.lost(partition)
            self._told.partition_lost(partition)

    async def _find_schema(self) -> None:
        async with await connect(self._settings.database_url, SCHEMA) as connection:
            if await _known_log(connection) is None:
                raise SchemaMissing("the projector has not made it yet")

    async def _confirm_log(self) -> None:
        async with await connect(self._settings.database_url, SCHEMA) as connection:
            await check_log(self._settings, self._settings, await _known_log(connection))
            with contextlib.suppress(UndefinedTable):  # the projector makes the schema anew
                await self._marks.confirm(connection)

    async def _checks(self) -> Mapping[str, bool]:
        return {
            "database": await self._probe(),
            "kafka": boottime() - self._heard_at < KAFKA_SILENCE_SECONDS,
            "log": self._watch.ours.is_set(),
            "windows": self._recovered,
            "progress": not self._progress.is_stuck,
        }

    async def _metrics_text(self) -> bytes:
        return self._metrics.text()

    async def _probe(self) -> bool:
        """Whether Postgres answers, and has where to write."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_SECONDS), self._pool.connection() as connection:
                await look(connection)
        except (TimeoutError, psycopg.Error):
            return False
        return True


async def _known_log(connection: AsyncConnection[Any]) -> LogIdentity | None:
    try:
        return await known_log(connection)
    except UndefinedTable:  # the projector makes the schema anew
        return None


async def _known_offsets(app: faust.App, topic: str, unwritten: Unwritten) -> Mapping[int, int]:
    """By assigned partition an offset; the table includes every counter before it that the log still has.

    Raises `LogUnavailable`.
    """
    included = included_offsets(app, topic, unwritten)
    firsts = await _offsets(app.consumer.earliest_offsets, topic, included)
    return {partition: max(first, included[partition]) for partition, first in firsts.items()}


async def _lags(app: faust.App, topic: str, unwritten: Unwritten) -> Mapping[int, int]:
    """By assigned partition how many counters Postgres does not have yet. Raises `LogUnavailable`."""
    included = included_offsets(app, topic, unwritten)
    ends = await _offsets(app.consumer.highwaters, topic, included)
    return {partition: max(0, end - included[partition]) for partition, end in ends.items()}


async def _offsets(
    ask: Callable[..., Awaitable[Mapping[TP, int]]], topic: str, partitions: Iterable[int]
) -> Mapping[int, int]:
    with log_unavailable(f"{topic}: no offsets"):
        async with asyncio.timeout(KAFKA_SILENCE_SECONDS):
            found = await ask(*(TP(topic, partition) for partition in partitions))
    return {place.partition: offset for place, offset in found.items()}


async def _crash_of(app: faust.App) -> None:
    """Faust goes on as if nothing were when a part of it has died: end, to be started again."""
    await app.wait_until_stopped()
    logger.critical("Faust has stopped", exc_info=app.crash_reason)
    raise RuntimeError("Faust has stopped") from app.crash_reason
