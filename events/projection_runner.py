"""Runs a projection: a batch of records and its next offset, in one Postgres transaction.

Kafka proposes who reads a partition; Postgres decides who writes what follows from it (`claims`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain, repeat
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from events.claims import Claim, StaleOwner, advance, try_to_claim
from events.dead_letter_outbox import DeadLetterOutbox
from events.dead_letters import DeadLetter
from events.errors import LogUnavailable, WrongLog, WrongSchema
from events.group_member import Batch, ConsumerBroken, GroupMember
from events.held_up import HeldUp
from events.log import EventLog
from events.projection import OUTAGES, Confirm, ConfirmMarks, Projection, ProjectionMetrics
from events.projection_status import ProjectionStatus
from events.settings import KafkaSettings
from events.together import ActivityGroup, run_together
from events.waiting import wait_for

CLAIM_INTERVAL_SECONDS = 0.1
REPORT_INTERVAL_SECONDS = 1.0
REPORT_TIMEOUT_SECONDS = 5.0
FIRST_REPORTS = 20
FIRST_REPORTS_SECONDS = 0.2
#: Of different partitions: one is decoded while Postgres works on the other. The others' records stay packed.
BATCHES_IN_HAND = 2
#: How long the batches in hand may take once the process is asked to stop.
LAST_BATCH_SECONDS = 3.0

logger = logging.getLogger(__name__)


class _TryAgain(Exception):
    """Something is wrong with one partition, for now; the message says what."""


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
        longest_transaction_seconds: float = 60.0,
        confirm_marks: ConfirmMarks | None = None,
        on_new_leader: Callable[[], None] = lambda: None,
    ) -> None:
        """`pool` is open; its connections autocommit and find `projection_offset` on their search path.

        `log` takes the dead letters. `session_timeout_seconds`: how long Kafka waits for a silent member.
        `confirm` is asked before each claim whether the rows are still ours to write; it raises if not.
        `longest_transaction_seconds`: how long a foreign transaction may hold a partition up.
        `confirm_marks` is asked after `confirm` whether the log still holds what was read from the
        partition: it raises `LogLost` if not. `on_new_leader` is told when a partition has another leader.
        """
        self._pool = pool
        self._projection = projection
        self._confirm = confirm
        self._confirm_marks = confirm_marks
        self._on_new_leader = on_new_leader
        self._kafka_address = kafka.bootstrap_servers
        self._in_hand = asyncio.Semaphore(BATCHES_IN_HAND)
        self._followed: set[int] = set()
        #: For metrics, and for whoever asks whether all is well.
        self.status = ProjectionStatus(metrics, HeldUp(projection.topic.name, longest_transaction_seconds))
        self._outbox: DeadLetterOutbox | None = None
        if projection.dead_letter_topic is not None:
            self._outbox = DeadLetterOutbox(log, projection.dead_letter_topic)
        self._member = GroupMember(
            kafka, projection.topic, group_id, session_timeout_seconds, on_lost=self._lost
        )

    async def run(self, stopping: asyncio.Event) -> None:
        """Run until `stopping` is set; the batch in hand is finished then, if that takes 3 s at most.

        Raises `WrongLog` when the log does not hold what Postgres says was applied, `WrongSchema`, and
        `ConsumerBroken`. Whatever else goes wrong with a partition is tried again, in ever smaller batches,
        and stops that partition only.
        """
        try:
            await run_together(self._work(stopping), _patience(stopping))
        finally:
            await self._member.leave()

    async def _work(self, stopping: asyncio.Event) -> None:
        await wait_for(f"Kafka at {self._kafka_address}", self._member.join, (LogUnavailable,))
        partitions = ActivityGroup()
        await run_together(partitions.run(stopping), self._claim_all(partitions, stopping), self._report())

    async def _claim_all(self, partitions: ActivityGroup, stopping: asyncio.Event) -> None:
        # Beside the batches: they may wait for rows of an owner that only a claim can end.
        while True:
            for partition in self._member.unclaimed():
                if partition in self._followed:
                    continue  # by the task of an earlier claim: it could take records that it would not apply
                what = f"Postgres, to claim {self._projection.topic.name}/{partition}"
                claim = await wait_for(what, partial(self._claim, partition), OUTAGES)
                if claim is not None and self._member.begin(claim):
                    self._followed.add(partition)
                    partitions.begin(self._follow(claim, stopping))
            await asyncio.sleep(CLAIM_INTERVAL_SECONDS)

    async def _claim(self, partition: int) -> Claim | None:
        """None: not now."""
        if partition not in self._member.unclaimed():
            return None  # Kafka has taken it away while Postgres was waited for
        topic = self._projection.topic.name
        async with self._pool.connection() as connection:
            async with connection.transaction():
                if self._confirm is not None:
                    await self._confirm(connection)
                claim = await try_to_claim(connection, self._projection.name, topic, partition)
            if claim is not None and self._confirm_marks is not None:
                # Once the claim is committed, its former owner leaves no more marks.
                await self._confirm_marks(connection, topic, partition)
        return claim

    async def _follow(self, claim: Claim, stopping: asyncio.Event) -> None:
        """Apply what is appended to one partition, for as long as it is ours."""
        what = f"readable records of {claim.topic}/{claim.partition}"
        try:
            while not stopping.is_set() and self._member.holds(claim):
                batch = await wait_for(what, partial(self._next_batch, claim), (_TryAgain,))
                if batch is not None and not stopping.is_set():
                    await self._apply(batch)
        finally:
            self._followed.discard(claim.partition)

    async def _next_batch(self, claim: Claim) -> Batch | None:
        """None: nothing was appended for a while, or the partition is not ours any more."""
        if not self._member.holds(claim):
            return None
        try:
            first = await self._member.wait_for_records(claim)
            async with self._in_hand:
                return await self._member.next_batch(claim, first)
        except ConsumerBroken:
            raise
        except LogUnavailable as error:
            raise _TryAgain(str(error)) from error

    async def _apply(self, batch: Batch) -> None:
        """Apply it whole, or in ever smaller parts where that fails: what can pass does."""
        claim, work = batch.claim, _Work(batch)
        what = f"Postgres, to apply {self._projection.name} of {claim.topic}/{claim.partition}"
        try:
            while work.rest is not None:
                await wait_for(what, partial(self._attempt, work), (_TryAgain,))
        except StaleOwner as stale:
            if self._member.holds(claim):
                logger.warning("dropped: %s", stale)
                self._member.drop(claim)
                self.status.stale(claim.partition)

    async def _attempt(self, work: _Work) -> None:
        """Apply the next part. Raises `_TryAgain` when that fails: the next part is half as long then."""
        part = work.next_part()
        self.status.tries(part)
        began = time.perf_counter()
        try:
            async with self._in_hand:
                letters = await self._commit(part)
        except (StaleOwner, WrongLog, WrongSchema):
            raise
        except Exception as error:
            if not isinstance(error, OUTAGES) and not work.failures:
                logger.exception("%s: %s cannot be applied", self._projection.name, part.claim)
            work.failed()
            raise _TryAgain(str(error) or type(error).__name__) from error
        work.passed()
        part.claim.next_offset = part.next_offset
        self.status.applied(part, letters, time.perf_counter() - began)
        if self._outbox is not None:
            self._outbox.committed(part.claim.partition, letters)

    async def _commit(self, batch: Batch) -> Sequence[DeadLetter]:
        if not self._member.holds(batch.claim):
            raise StaleOwner(f"Kafka has taken {batch.claim} away")
        async with self._pool.connection() as connection, connection.transaction():
            await advance(connection, batch.claim, batch.next_offset, batch.records)
            letters = await self._projection.apply(connection, batch.records)
            if self._outbox is not None:
                # Before the commit: a dead letter may repeat, but is never missing.
                await self._outbox.append(batch.claim.partition, letters)
        return letters

    def _lost(self, partition: int) -> None:
        """Kafka has given the partition to somebody else."""
        self.status.lost(partition)
        if self._outbox is not None:
            self._outbox.lost(partition)

    async def _report(self) -> None:
        # Soon after the start, because nobody knows before whether there is anything to do.
        for soon in chain(repeat(True, FIRST_REPORTS), repeat(False)):
            is_early = soon and self.status.is_stuck
            await asyncio.sleep(FIRST_REPORTS_SECONDS if is_early else REPORT_INTERVAL_SECONDS)
            try:
                async with asyncio.timeout(REPORT_TIMEOUT_SECONDS):
                    await self._member.report()
                    lags = await self._member.lags()
                    has_new_leader = await self._member.has_new_leader()
                self.status.heard(self._member.assigned(), lags, self._member.ends())
                if has_new_leader:
                    self._on_new_leader()
            except (LogUnavailable, TimeoutError) as error:
                logger.debug("%s: no report to Kafka: %s", self._projection.name, error)


class _Work:
    """A batch, and how much of it is tried at once: less after each failure, more after each success."""

    def __init__(self, batch: Batch) -> None:
        self.rest: Batch | None = batch
        self.failures = 0
        self._length = len(batch.records)

    def next_part(self) -> Batch:
        assert self.rest is not None
        return self.rest.cut(self._length)[0]

    def passed(self) -> None:
        assert self.rest is not None
        self.rest = self.rest.cut(self._length)[1]
        self._length *= 2

    def failed(self) -> None:
        self.failures += 1
        self._length = max(1, min(self._length, len(self.next_part().records)) // 2)


async def _patience(stopping: asyncio.Event) -> None:
    """Ends when a stopping process has waited long enough for its batch, or for Kafka."""
    await stopping.wait()
    await asyncio.sleep(LAST_BATCH_SECONDS)
