"""Runs a projection: a batch of records and its next offset, in one Postgres transaction.

Kafka proposes who reads a partition; Postgres decides who writes what follows from it (`claims`).
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from events.claims import Claim, StaleOwner, advance, try_to_claim
from events.clock import boottime
from events.dead_letters import DeadLetter, append_dead_letters
from events.errors import LogUnavailable
from events.group_member import Batch, GroupMember
from events.log import EventLog, Record
from events.settings import KafkaSettings
from events.together import run_all, run_together
from events.waiting import wait_for

#: Nobody's fault: the batch is kept, and tried again until it is in.
OUTAGES = (psycopg.OperationalError, psycopg.errors.IdleInTransactionSessionTimeout, LogUnavailable)

CLAIM_INTERVAL_SECONDS = 0.1
REPORT_INTERVAL_SECONDS = 1.0
REPORT_TIMEOUT_SECONDS = 5.0
#: Of different partitions: one is decoded while Postgres works on the other.
BATCHES_IN_HAND = 2
#: How long the batches in hand may take once the process is asked to stop.
LAST_BATCH_SECONDS = 3.0

logger = logging.getLogger(__name__)


Confirm = Callable[[AsyncConnection[Any]], Awaitable[None]]
#: Of a topic's partition, over a connection that is in no transaction.
ConfirmMarks = Callable[[AsyncConnection[Any], str, int], Awaitable[None]]


class Projection(Protocol):
    """What follows from the records of one topic, kept in Postgres."""

    @property
    def name(self) -> str: ...
    @property
    def topic(self) -> str: ...
    @property
    def dead_letter_topic(self) -> str | None:
        """Where records go that somebody has to look at; None: `apply` names none."""
        ...

    async def apply(
        self, connection: AsyncConnection[Any], records: Sequence[Record]
    ) -> Sequence[DeadLetter]:
        """Write what follows from records of one partition, in order, within the open transaction.

        Returns the records that somebody has to look at. Must be a function of the records and of what
        earlier ones have written, so that a rebuild writes the same however batches are cut.
        """
        ...


class ProjectionMetrics(Protocol):
    """What a runner tells about its work."""

    def batch_applied(self, partition: int, records: int, seconds: float, age_seconds: float) -> None:
        """`seconds` from the batch in hand to its commit; `age_seconds` since its first record's append."""
        ...

    def lag(self, partition: int, records: int) -> None: ...
    def partition_lost(self, partition: int) -> None: ...
    def stale_owner(self, partition: int) -> None: ...
    def dead_letter(self, reason: str) -> None: ...


class ProjectionRunner:
    """Runs one projection over the partitions that Kafka assigns to this member of the group."""

    def __init__(
        self,
        kafka: KafkaSettings,
        pool: AsyncConnectionPool[AsyncConnection[Any]],
        log: EventLog,
        projection: Projection,
        group_id: str,
        metrics: ProjectionMetrics,
        session_timeout_seconds: float = 10.0,
        confirm: Confirm | None = None,
        confirm_marks: ConfirmMarks | None = None,
        on_new_leader: Callable[[], None] = lambda: None,
    ) -> None:
        """`pool` is open; its connections autocommit and find `projection_offset` on their search path.

        `log` takes the dead letters. `session_timeout_seconds`: how long Kafka waits for a silent member.
        `confirm` is asked before each claim whether the rows are still ours to write; it raises if not.
        `confirm_marks` is asked after it whether the log still holds what was read from the partition: it
        raises `LogLost` if not. `on_new_leader` is told when a partition has got another leader.
        """
        self._pool = pool
        self._log = log
        self._projection = projection
        self._metrics = metrics
        self._confirm = confirm
        self._confirm_marks = confirm_marks
        self._on_new_leader = on_new_leader
        self._kafka_address = kafka.bootstrap_servers
        self._heard_at = -math.inf
        self._in_hand = asyncio.Semaphore(BATCHES_IN_HAND)
        self._member = GroupMember(
            kafka, projection.topic, group_id, session_timeout_seconds, on_lost=metrics.partition_lost
        )

    @property
    def silence_seconds(self) -> float:
        """Time since Kafka last said where the log ends; infinite before the first time."""
        return boottime() - self._heard_at

    async def run(self, stopping: asyncio.Event) -> None:
        """Run until `stopping` is set; the batch in hand is finished then, if that takes 3 s at most.

        Raises `WrongLog` when the log does not hold what Postgres says was applied. Outages are waited
        for; any other error ends the run and is raised as it is.
        """
        try:
            await run_together(self._work(stopping), _patience(stopping))
        finally:
            await self._member.leave()

    async def _work(self, stopping: asyncio.Event) -> None:
        await wait_for(f"Kafka at {self._kafka_address}", self._member.join, (LogUnavailable,))
        await run_together(self._project(stopping), self._claim_all(), self._report())

    async def _project(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            if appended := await self._member.next_batches():
                await run_all(*(self._apply_in_turn(batches, stopping) for batches in appended))

    async def _claim_all(self) -> None:
        # Beside the batches: they may wait for rows of an owner that only a claim can end.
        while True:
            for partition in self._member.unclaimed():
                what = f"Postgres, to claim {self._projection.topic}/{partition}"
                claim = await wait_for(what, partial(self._claim, partition), OUTAGES)
                if claim is not None:
                    self._member.begin(claim)
            await asyncio.sleep(CLAIM_INTERVAL_SECONDS)

    async def _claim(self, partition: int) -> Claim | None:
        """None: not now."""
        if partition not in self._member.unclaimed():
            return None  # Kafka has taken it away while Postgres was waited for
        topic = self._projection.topic
        async with self._pool.connection() as connection:
            async with connection.transaction():
                if self._confirm is not None:
                    await self._confirm(connection)
                claim = await try_to_claim(connection, self._projection.name, topic, partition)
            if claim is not None and self._confirm_marks is not None:
                # Once the claim is committed, its former owner leaves no more marks.
                await self._confirm_marks(connection, topic, partition)
        return claim

    async def _apply_in_turn(self, batches: Sequence[Batch], stopping: asyncio.Event) -> None:
        """The batches of one partition. Those of others are decoded while Postgres works on this one's."""
        for batch in batches:
            async with self._in_hand:
                if not stopping.is_set():
                    await self._apply(batch)

    async def _apply(self, batch: Batch) -> None:
        claim, began = batch.claim, time.perf_counter()
        try:
            letters = await wait_for(f"Postgres, to apply {claim}", partial(self._attempt, batch), OUTAGES)
        except StaleOwner as stale:
            if self._member.holds(claim):
                logger.warning("dropped: %s", stale)
                self._member.drop(claim)
                self._metrics.stale_owner(claim.partition)
            return
        claim.next_offset = batch.next_offset
        seconds = time.perf_counter() - began
        self._metrics.batch_applied(claim.partition, len(batch.records), seconds, _age_seconds(batch))
        for letter in letters:
            self._metrics.dead_letter(letter.reason)

    async def _attempt(self, batch: Batch) -> Sequence[DeadLetter]:
        if not self._member.holds(batch.claim):
            raise StaleOwner(f"Kafka has taken {batch.claim} away")
        async with self._pool.connection() as connection, connection.transaction():
            await advance(connection, batch.claim, batch.next_offset, batch.records)
            letters = await self._projection.apply(connection, batch.records)
            if self._projection.dead_letter_topic is not None:
                # Before the commit: a dead letter may repeat, but is never missing.
                await append_dead_letters(self._log, self._projection.dead_letter_topic, letters)
        return letters

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_INTERVAL_SECONDS)
            try:
                async with asyncio.timeout(REPORT_TIMEOUT_SECONDS):
                    await self._member.report()
                    for partition, records in (await self._member.lags()).items():
                        self._metrics.lag(partition, records)
                    self._heard_at = boottime()
                    if await self._member.has_new_leader():
                        self._on_new_leader()
            except (LogUnavailable, TimeoutError) as error:
                logger.debug("%s: no report to Kafka: %s", self._projection.name, error)


def _age_seconds(batch: Batch) -> float:
    return time.time() - batch.records[0].timestamp / 1000 if batch.records else 0.0


async def _patience(stopping: asyncio.Event) -> None:
    """Ends when a stopping process has waited long enough for its batch, or for Kafka."""
    await stopping.wait()
    await asyncio.sleep(LAST_BATCH_SECONDS)
