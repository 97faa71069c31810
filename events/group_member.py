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
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)

from events.claims import Claim
from events.errors import LogUnavailable, WrongLog
from events.kafka_clients import log_unavailable, start
from events.kafka_leader_epochs import leader_epochs
from events.kafka_stopping import stop_consumer
from events.leaders import Leaders
from events.log import Record
from events.settings import KafkaSettings
from events.topics import Topic

LARGEST_BATCH_RECORDS = 5000
#: A batch of uses is 2.5 MB; Kafka's own limit of 1 MB would make batches of 2,000.
LARGEST_FETCH_BYTES = 3 * 1024 * 1024
LEAVE_TIMEOUT_SECONDS = 2.0
#: Each partition waits by itself: five times a second, all of them took a tenth of a processor.
WAIT_MS = 1000
DAY_MS = 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one claimed partition, from the claim's next offset up to (not including) `next_offset`."""

    claim: Claim
    records: Sequence[Record]
    next_offset: int

    def cut(self, length: int) -> tuple[Batch, Batch | None]:
        """The first records of it, and the rest where there are more."""
        if length >= len(self.records):
            return self, None
        first, rest = self.records[:length], self.records[length:]
        return Batch(self.claim, first, rest[0].offset), Batch(self.claim, rest, self.next_offset)


class ConsumerBroken(LogUnavailable):
    """The consumer fetches nothing any more, of no partition: a new member has to read on."""


class GroupMember(ConsumerRebalanceListener):  # type: ignore[misc]
    """Reads the partitions of one topic that are assigned to it, once each was claimed with `begin`."""

    def __init__(
        self,
        kafka: KafkaSettings,
        topic: Topic,
        group_id: str,
        session_timeout_seconds: float,
        on_lost: Callable[[int], None],
    ) -> None:
        """Connects nothing yet. `on_lost` is told each partition that is no longer assigned."""
        self._kafka = kafka
        self._topic = topic.name
        self._is_read_committed = topic.is_read_committed
        self._on_lost = on_lost
        self._options = {
            **kafka.client_options(),
            "group_id": group_id,
            "enable_auto_commit": False,
            # Where to read is written in Postgres. An offset that the log lacks is an error, never a reset.
            "auto_offset_reset": "none",
            "isolation_level": topic.isolation_level,
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
        self._leaders = Leaders()

    async def join(self) -> None:
        """Raises `LogUnavailable`; may be tried again then."""
        consumer = AIOKafkaConsumer(**self._options)
        await start(consumer, self._kafka)
        self._consumer = consumer
        consumer.subscribe([self._topic], listener=self)

    async def leave(self) -> None:
        """Within 2 s, told or not: Kafka notices a silent member by itself."""
        if self._consumer is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_TIMEOUT_SECONDS):
                    await stop_consumer(self._consumer)
        for partition in [*self._unclaimed, *self._claims, *self._dropped]:
            self._forget(partition)

    def unclaimed(self) -> Sequence[int]:
        """Assigned partitions that wait to be claimed."""
        return sorted(self._unclaimed)

    def assigned(self) -> Sequence[int]:
        """The partitions that Kafka proposes to us, whether they are claimed or not."""
        return sorted({*self._unclaimed, *self._claims, *self._dropped})

    def begin(self, claim: Claim) -> bool:
        """Read the claimed partition from where Postgres says it is. False: it is not assigned any more."""
        if claim.partition not in self._unclaimed:
            return False
        self._unclaimed.remove(claim.partition)
        self._claims[claim.partition] = claim
        self._consumer.seek(self._place(claim.partition), claim.next_offset)
        self._consumer.resume(self._place(claim.partition))
        return True

    def holds(self, claim: Claim) -> bool:
        """Whether Kafka has left us the partition since `begin`."""
        return self._claims.get(claim.partition) is claim

    def drop(self, claim: Claim) -> None:
        """Read no more of a partition that somebody else has claimed, until Kafka says it is ours."""
        if self.holds(claim):
            self._consumer.pause(self._place(claim.partition))
            self._dropped[claim.partition] = self._claims.pop(claim.partition)

    async def wait_for_records(self, claim: Claim) -> Sequence[Record]:
        """The first record behind the claim's next offset, as soon as there is one; empty after a second.

        `next_batch` has the others. Raises `WrongLog` when the log does not hold the offset that Postgres is
        at, and `LogUnavailable` while what stands there cannot be read: other partitions can.
        """
        return await self._read(claim, timeout_ms=WAIT_MS, max_records=1)

    async def next_batch(self, claim: Claim, first: Sequence[Record]) -> Batch | None:
        """A batch that begins with these records, and has whatever was fetched behind them.

        None where the log has nothing behind the claim's next offset, or the partition was taken away.
        Raises like `wait_for_records`.
        """
        try:
            more = await self._read(claim, timeout_ms=0, max_records=LARGEST_BATCH_RECORDS - len(first))
        except LogUnavailable:
            if not first or not self.holds(claim):
                raise
            # Something behind them cannot be read: they can, one at a time.
            self._consumer.seek(self._place(claim.partition), first[-1].offset + 1)
            more = ()
        if not self.holds(claim):
            return None
        # Not the last record's offset + 1: markers of a foreign producer's transactions are passed too.
        position = await self._consumer.position(self._place(claim.partition))
        return Batch(claim, [*first, *more], position) if position > claim.next_offset else None

    async def _read(self, claim: Claim, timeout_ms: int, max_records: int) -> Sequence[Record]:
        if self._consumer._fetcher.error_future.done():
            raise ConsumerBroken(f"{self._topic}: this consumer is broken")
        place = self._place(claim.partition)
        try:
            fetched = await self._consumer.getmany(place, timeout_ms=timeout_ms, max_records=max_records)
        except OffsetOutOfRangeError as error:
            raise WrongLog(_out_of_range(error)) from None
        except NoOffsetForPartitionError:
            return ()  # of a partition that was assigned a moment ago and is not claimed yet
        except Exception as error:
            # What a codec raises for a record that it cannot unpack is of any class. The consumer has moved
            # past records that it did not return.
            if self.holds(claim):
                self._consumer.seek(place, claim.next_offset)
            what = f"{self._topic}/{claim.partition} behind offset {claim.next_offset}"
            raise LogUnavailable(f"{what} cannot be read: {error!r}") from error
        records: Sequence[Record] = fetched.get(place, ())
        return records

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

    def ends(self) -> Mapping[int, tuple[int, int]]:
        """The last stable offset and the high watermark of each partition that is read, as last heard.

        Of a topic that is read committed; what lies between the two waits for the end of a transaction.
        """
        if not self._is_read_committed:
            return {}
        places = {partition: self._place(partition) for partition in self._claims}
        heard = {
            partition: (self._consumer.last_stable_offset(place), self._consumer.highwater(place))
            for partition, place in places.items()
        }
        return {partition: ends for partition, ends in heard.items() if None not in ends}

    async def has_new_leader(self) -> bool:
        """Whether a partition of the topic has got a leader since the last call. Raises `LogUnavailable`."""
        with log_unavailable(f"{self._topic}: leaders not known"):
            epochs = await leader_epochs(self._consumer._client, self._topic)
        return self._leaders.have_changed(epochs)

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


def _out_of_range(error: OffsetOutOfRangeError) -> str:
    places = ", ".join(f"{place.topic}/{place.partition}@{offset}" for place, offset in error.args[0].items())
    return f"the log does not hold {places}, where Postgres has got to: see docs/operations.md"
