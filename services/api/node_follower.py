"""The follower of a node, one process beside its workers: everything that reads the log is made here.

It writes the node's store of keys and the counts of other nodes; workers read both and follow nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from events.clock import Clock, boottime
from events.errors import LogUnavailable, WrongLog
from events.log_identity import LogIdentity
from events.together import run_all, run_together
from events.waiting import wait_for
from services.api.directory.follower_requests import Handlers, answering
from services.api.directory.freshness import Freshness
from services.api.directory.key_store import KeyStore
from services.api.directory.learnt_fingerprints import LearntFingerprints
from services.api.directory.lifecycle_follower import LifecycleFollower
from services.api.directory.store_choice import StoreChoice
from services.api.directory.store_writer import StoreWriter
from services.api.errors import StoreUnavailable
from services.api.limits.counter_follower import CounterFollower
from services.api.limits.due import DueListener
from services.api.limits.errors import NoRoomForCounts
from services.api.limits.node_id import node_id
from services.api.limits.publisher import CounterPublisher
from services.api.limits.window_tables import WindowTables
from services.api.log_watch import LogWatch
from services.api.metrics import Metrics
from services.api.node import Node
from services.api.node_folder import limits_folder
from services.api.ports import FollowerPorts
from services.api.settings import ApiSettings
from services.api.validation.key_material import Fingerprints
from services.api.validation.known_peppers import KnownPeppers

logger = logging.getLogger(__name__)

#: So long a node that starts waits for Kafka before it answers from what it knew when it was stopped.
KAFKA_SECONDS = 3.0
CLEAR_READERS_SECONDS = 30.0
NO_ROOM_SECONDS = 5.0
FORGET_DEAD_SECONDS = 600.0


class NodeFollower:
    """Starts once the store may be believed, then follows the topics until it is cancelled."""

    def __init__(
        self,
        settings: ApiSettings,
        folder: Path,
        ports: FollowerPorts,
        clock: Clock,
        node: Node,
        boottime: Callable[[], float] = boottime,
        *,
        may_fill: bool = True,
    ) -> None:
        """Without `may_fill` workers have the store open: it is this one, or the node ends."""
        self._settings = settings
        self._folder = folder
        self._ports = ports
        self._clock = clock
        self._node = node
        self._boottime = boottime
        self._may_fill = may_fill
        self._metrics = Metrics()
        self._fingerprints = Fingerprints(settings.key_peppers)
        self.freshness = Freshness(folder, boottime)
        self.store: KeyStore | None = None

    @asynccontextmanager
    async def started(self) -> AsyncIterator[Callable[[], Coroutine[Any, Any, None]]]:
        """Make the store what the log says; what this yields keeps it so, for ever.

        Raises `WrongLog` where the log is not ours, `StoreUnavailable` where there is no room for a store.
        """
        ports, settings = self._ports, self._settings
        kafka = f"Kafka at {settings.bootstrap_servers}"
        source = f"hokusai-auth/api/{uuid4()}"
        async with AsyncExitStack() as opened:
            await opened.enter_async_context(ports.opened())
            self._metrics.sit(self._node.enter())
            opened.callback(self._node.leave)
            watch = LogWatch(ports.read_models, ports.check_log, ports.reader, self.freshness)
            connection = _Connection(opened, ports, watch)
            choice = StoreChoice(
                self._folder,
                settings.lifecycle.name,
                self._fingerprints.known_ids,
                self.freshness,
                ports.read_models,
                may_fill=self._may_fill,
            )
            store = choice.stored()
            if store is not None:
                opened.callback(store.close)
                if self._is_fresh() and not await connection.is_there():
                    self._answer_without_kafka(store)
            log = await wait_for(kafka, connection.confirm, (LogUnavailable,))
            peppers = KnownPeppers(
                self._fingerprints.known_ids, ports.peppers, ports.log, settings.peppers.name, source
            )
            await wait_for(kafka, peppers.start, (LogUnavailable,))
            if store is None or not await choice.fits(store, log, ports.reader):
                if self.freshness.is_ready:
                    raise WrongLog("the store is of another log: start the node again, and it is filled anew")
                if store is not None:
                    store.close()
                store = await choice.filled(log)
                opened.callback(store.close)
            self.store = store
            writer = StoreWriter(store, self._fingerprints.known_ids)
            store.put_declared_peppers(peppers.known())
            follower = LifecycleFollower(
                ports.reader, store, writer, self.freshness, self._metrics, self._clock, self._boottime
            )
            learnt = LearntFingerprints(
                store,
                writer,
                ports.log,
                settings.lifecycle.name,
                self._fingerprints.newest_id,
                source,
                self._clock,
            )
            limits = limits_folder(self._folder)
            tables, due = WindowTables(limits), DueListener(limits)
            opened.callback(tables.close)
            opened.callback(due.close)
            name, counters = node_id(limits), settings.rate_counters.name
            publisher = CounterPublisher(tables, due, name, ports.log, counters, self._clock, self._metrics)
            others = CounterFollower(ports.counters, tables, name, ports.windows, self._clock, self._metrics)
            handlers: Handlers = {
                "is_caught_up": follower.is_caught_up,
                "is_pepper_known": functools.partial(_is_pepper_known, peppers, store),
                "learn": learnt.learn,
            }
            await opened.enter_async_context(answering(self._folder, handlers))
            know_the_hour = wait_for(kafka, others.start, (LogUnavailable, WrongLog, NoRoomForCounts))
            await run_all(wait_for(kafka, follower.start, (LogUnavailable,)), know_the_hour)
            self.freshness.ready()
            logger.info("following %s; %d keys in the store", settings.lifecycle.name, store.counts()[0])
            opened.push_async_callback(publisher.flush)
            yield functools.partial(
                run_together,
                follower.run(),
                watch.run(),
                learnt.run(),
                _follow_counts(others),
                publisher.run(),
                _clear_readers(store),
                _forget_dead(writer, self._clock),
            )

    def _is_fresh(self) -> bool:
        return self.freshness.staleness_seconds < self._settings.max_staleness_seconds

    def _answer_without_kafka(self, store: KeyStore) -> None:
        logger.warning("Kafka is away: answering from what the store knew when it was stopped")
        # It is no earlier than when the log took what the store has, however slow this host's clock is.
        for mark in store.marks():
            self._clock.follow_log(mark.appended_ms / 1000, mark.appended_ms / 1000)
        self.freshness.ready()


class _Connection:
    """To Kafka, made when it is there."""

    def __init__(self, opened: AsyncExitStack, ports: FollowerPorts, watch: LogWatch) -> None:
        self._opened = opened
        self._ports = ports
        self._watch = watch
        self._is_connected = False

    async def is_there(self) -> bool:
        """Whether Kafka answers soon."""
        try:
            async with asyncio.timeout(KAFKA_SECONDS):
                await self._connect()
                await self._ports.check_log(None)
        except (LogUnavailable, TimeoutError):
            return False
        except WrongLog:
            pass  # `confirm` says so, with what Postgres knows
        return True

    async def confirm(self) -> LogIdentity:
        """Which log it is. Raises `WrongLog`, `LogUnavailable`."""
        await self._connect()
        return await self._watch.confirm()

    async def _connect(self) -> None:
        if not self._is_connected:
            await self._opened.enter_async_context(self._ports.connected())
            self._is_connected = True


async def _is_pepper_known(peppers: KnownPeppers, store: KeyStore, pepper_id: str) -> bool | None:
    """None where the log does not tell."""
    try:
        is_known = await peppers.include(pepper_id)
    except LogUnavailable:
        return None
    if (known := peppers.known()) != store.declared_peppers():
        store.put_declared_peppers(known)
    return is_known


async def _follow_counts(others: CounterFollower) -> None:
    """Where the disk is full, what others count is heard of anew once there is room."""
    while True:
        try:
            await others.run()
        except NoRoomForCounts as error:
            logger.critical("%s", error)
            await asyncio.sleep(NO_ROOM_SECONDS)
            await wait_for("room for counts", others.start, (LogUnavailable, WrongLog, NoRoomForCounts))


async def _clear_readers(store: KeyStore) -> None:
    """Forget the snapshots of workers that died, for ever: the store would keep all that they saw."""
    while True:
        await asyncio.sleep(CLEAR_READERS_SECONDS)
        store.environment.reader_check()


async def _forget_dead(writer: StoreWriter, clock: Clock) -> None:
    """Keys end by themselves, too, and nobody has to recognise them then. For ever."""
    while True:
        after: bytes | None = b""
        with contextlib.suppress(StoreUnavailable):  # who follows tells of it, and goes on once there is room
            while after is not None:
                after = writer.forget_dead(clock.seconds(), after)
                await asyncio.sleep(0)
        await asyncio.sleep(FORGET_DEAD_SECONDS)
