"""A member of a consumer group: Kafka proposes its partitions, claims decide where and whether it reads."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import (  # type: ignore[import-untyped]
    AIOKafkaConsumer,
    ConsumerRebalanceListener,
    OffsetAndMetadata,
    TopicPartition,
)
from aiokafka.errors import (  # type: ignore[import-untyped]
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)

from events.claims import Claim
from events.errors import LogUnavailable, WrongLog
from events.kafka_clients import log_unavailable, start
from events.kafka_leader_epochs import leader_epochs
from events.log import Record
from events.settings import KafkaSettings

LARGEST_BATCH_RECORDS = 5000
#: Read at once, of all partitions together: enough that several have a batch while all are behind.
LARGEST_READ_RECORDS = 4 * LARGEST_BATCH_RECORDS
#: A batch of uses is 2.5 MB; Kafka's own limit of 1 MB would make batches of 2,000.
LARGEST_FETCH_BYTES = 3 * 1024 * 1024
LEAVE_TIMEOUT_SECONDS = 2.0
DAY_MS = 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one claimed partition, from the claim's next offset up to (not including) `next_offset`."""

    claim: Claim
    records: Sequence[Record]
    next_offset: int


class GroupMember(ConsumerRebalanceListener):  # type: ignore[misc]
    """Reads the partitions of one topic that are assigned to it, once each was claimed with `begin`."""

    def __init__(
        self,
        kafka: KafkaSettings,
        topic: str,
        group_id: str,
        session_timeout_seconds: float,
        on_lost: Callable[[int], None],
    ) -> None:
        """Connects nothing yet. `on_lost` is told each partition that is no longer assigned."""
        self._kafka = kafka
        self._topic = topic
        self._on_lost = on_lost
        self._options = {
            **kafka.client_options(),
            "group_id": group_id,
            "enable_auto_commit": False,
            # Where to read is written in Postgres. An offset that the log lacks is an error, never a reset.
            "auto_offset_reset": "none",
            # A partition that is begun waits for the fetch under way, so that must be a short one.
            "fetch_max_wait_ms": 100,
            "max_partition_fetch_bytes": LARGEST_FETCH_BYTES,
            "session_timeout_ms": int(session_timeout_seconds * 1000),
            "heartbeat_interval_ms": int(session_timeout_seconds * 1000 / 5),
            # Heartbeats say that we live: to wait for Postgres for hours is no reason to leave the group.
            "max_poll_interval_ms": DAY_MS,
        }
        self._consumer: Any = None  # an AIOKafkaConsumer once joined
        # Every assigned partition is in exactly one of these.
        self._unclaimed: set[int] = set()
        self._claims: dict[int, Claim] = {}
        self._dropped: dict[int, Claim] = {}
        self._reported: dict[int, int] = {}
        self._epochs: dict[int, int] = {}

    async def join(self) -> None:
        """Raises `LogUnavailable`; may be tried again then."""
        consumer = AIOKafkaConsumer(**self._options)
        await start(consumer, self._kafka)
        self._consumer = consumer
        consumer.subscribe([self._topic], listener=self)

    async def leave(self) -> None:
        """Within 2 s, told or not: Kafka notices a silent member by itself."""
        if self._consumer is not None:
            with contextlib.suppress(TimeoutError, KafkaError):
                async with asyncio.timeout(LEAVE_TIMEOUT_SECONDS):
                    await self._consumer.stop()
        for partition in [*self._unclaimed, *self._claims, *self._dropped]:
            self._forget(partition)

    def unclaimed(self) -> Sequence[int]:
        """Assigned partitions that wait to be claimed."""
        return sorted(self._unclaimed)

    def begin(self, claim: Claim) -> None:
        """Read the claimed partition from where Postgres says it is, if it is still assigned."""
        if claim.partition in self._unclaimed:
            self._unclaimed.remove(claim.partition)
            self._claims[claim.partition] = claim
            self._consumer.seek(self._place(claim.partition), claim.next_offset)
            self._consumer.resume(self._place(claim.partition))

    def holds(self, claim: Claim) -> bool:
        """Whether Kafka has left us the partition since `begin`."""
        return self._claims.get(claim.partition) is claim

    def drop(self, claim: Claim) -> None:
        """Read no more of a partition that somebody else has claimed, until Kafka says it is ours."""
        if self.holds(claim):
            self._consumer.pause(self._place(claim.partition))
            self._dropped[claim.partition] = self._claims.pop(claim.partition)

    async def next_batches(self) -> Sequence[Sequence[Batch]]:
        """What was appended to each claimed partition, as soon as there is something; empty after 200 ms.

        Raises `WrongLog` when the log does not hold the offset that Postgres is at, and aiokafka's errors
        for records that cannot be unpacked: read on by nobody but a new member then.
        """
        if self._consumer._fetcher.error_future.done():
            raise LogUnavailable(f"{self._topic}: this consumer is broken")
        try:
            fetched = await self._consumer.getmany(timeout_ms=200, max_records=LARGEST_READ_RECORDS)
        except OffsetOutOfRangeError as error:
            raise WrongLog(_out_of_range(error)) from None
        except NoOffsetForPartitionError:
            return ()  # of a partition that was assigned a moment ago and is not claimed yet
        batches = []
        for claim in list(self._claims.values()):
            place = self._place(claim.partition)
            # Not the last record's offset + 1: markers of a foreign producer's transactions are passed too.
            position = await self._consumer.position(place)
            if position > claim.next_offset:
                batches.append(_cut(claim, fetched.get(place, ()), position))
        return batches

    async def report(self) -> None:
        """Tell Kafka how far each partition is, for displays of lag. Raises `LogUnavailable`.

        A dropped partition whose offset Kafka takes is ours by Kafka's word of this very moment, so it
        waits to be claimed again: whoever else claimed it was late, or our own commit went unheard.
        """
        dropped = dict(self._dropped)
        offsets = {
            partition: claim.next_offset
            for partition, claim in (self._claims | dropped).items()
            if partition in dropped or self._reported.get(partition) != claim.next_offset
        }
        if not offsets:
            return
        with log_unavailable(f"{self._topic}: offsets not committed"):
            await self._consumer.commit(
                {self._place(partition): OffsetAndMetadata(at, "") for partition, at in offsets.items()}
            )
        self._reported |= offsets
        for partition, claim in dropped.items():
            if self._dropped.get(partition) is claim:
                del self._dropped[partition]
                self._unclaimed.add(partition)

    async def lags(self) -> Mapping[int, int]:
        """How many records each assigned partition is behind the log's end. Raises `LogUnavailable`."""
        held = list(self._claims | self._dropped)
        with log_unavailable(f"{self._topic}: no end offsets"):
            ends = await self._consumer.end_offsets([self._place(partition) for partition in held])
        applied = self._claims | self._dropped
        return {
            place.partition: max(0, end - applied[place.partition].next_offset)
            for place, end in ends.items()
            if place.partition in applied
        }

    async def has_new_leader(self) -> bool:
        """Whether a partition of the topic has got a leader since the last call. Raises `LogUnavailable`."""
        with log_unavailable(f"{self._topic}: leaders not known"):
            epochs = await leader_epochs(self._consumer._client, self._topic)
        known, self._epochs = self._epochs, {**self._epochs, **epochs}
        return any(known.get(partition, epoch) != epoch for partition, epoch in epochs.items())

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Kafka proposes these: they stay paused until they are claimed."""
        for place in assigned:
            self._consumer.pause(place)
            # Any position will do; without one the consumer would ask Kafka where to begin.
            self._consumer.seek(place, 0)
            self._unclaimed.add(place.partition)

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Kafka takes these back. A batch in hand is stopped by its claim, should somebody claim now."""
        for place in revoked:
            self._forget(place.partition)

    def _forget(self, partition: int) -> None:
        self._unclaimed.discard(partition)
        for table in (self._claims, self._dropped, self._reported):
            table.pop(partition, None)
        self._on_lost(partition)

    def _place(self, partition: int) -> TopicPartition:
        return TopicPartition(self._topic, partition)


def _cut(claim: Claim, records: Sequence[Record], position: int) -> Sequence[Batch]:
    """Batches that follow on each other, the last one up to the position."""
    begins = range(0, len(records), LARGEST_BATCH_RECORDS) or (0,)
    ends = [*(records[begin].offset for begin in begins[1:]), position]
    return [
        Batch(claim, records[begin : begin + LARGEST_BATCH_RECORDS], end)
        for begin, end in zip(begins, ends, strict=True)
    ]


def _out_of_range(error: OffsetOutOfRangeError) -> str:
    places = ", ".join(f"{place.topic}/{place.partition}@{offset}" for place, offset in error.args[0].items())
    return f"the log does not hold {places}, where Postgres has got to: see docs/operations.md"
