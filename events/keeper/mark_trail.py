"""The marks that a schema keeps beside its offsets, and what follows when the log disagrees with them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from psycopg import AsyncConnection

from events.errors import LogLost
from events.kafka_cluster import end_offsets
from events.kafka_marks import lost_marks
from events.log import Mark
from events.queries import load_queries
from events.settings import KafkaSettings
from events.topics import Topic

_QUERIES = load_queries("events.keeper", "log_marks.sql")
_BEYOND_ALL = 2**63 - 1

logger = logging.getLogger(__name__)


class Refusal(NamedTuple):
    """A partition that is not what it was. Its records from `first_lost` on were read up to `applied_to`."""

    topic: str
    partition: int
    first_lost: int
    applied_to: int
    why: str

    def __str__(self) -> str:
        return (
            f"{self.topic}/{self.partition} has lost records from offset {self.first_lost} on that were read "
            f"({self.why}): nothing more is read from {self.topic} until an operator has restored the topic "
            f"or run `hokusai-auth log accept-loss --topic {self.topic} --partition {self.partition}`; "
            "see docs/operations.md"
        )


class MarkTrail:
    """Compares the marks of some topics with the log. The schema stands first in the search path."""

    def __init__(self, kafka: KafkaSettings, topics: Collection[Topic]) -> None:
        self._kafka = kafka
        self._topics = {topic.name: topic for topic in topics}
        self._compacted = [
            topic.name for topic in topics if topic.configuration.get("cleanup.policy") == "compact"
        ]

    async def confirm(
        self, connection: AsyncConnection[Any], topic: str | None = None, partition: int | None = None
    ) -> None:
        """Raise `LogLost` where the log has lost what was read from it, of these topics, or of one partition.

        That is noted in the schema, where it stays: a log that has grown again looks whole. Where all agrees
        fewer marks are needed from now on. The connection is in no transaction. Raises `LogUnavailable`.
        """
        topics = list(self._topics) if topic is None else [topic]
        await self.raise_refusals(connection)
        of = {"topics": topics, "partition": partition}
        marks = [
            Mark(*row)
            for row in await (await connection.execute(_QUERIES["marks_to_compare"], of)).fetchall()
        ]
        applied = await (await connection.execute(_QUERIES["applied"], of)).fetchall()
        lost = await lost_marks(self._kafka, marks, self._compacted)
        refusals = [await self._refusal(connection, mark) for mark in _first_of_each(lost)]
        refusals += await self._ended_before(connection, applied, {one[:2] for one in refusals})
        for refusal in refusals:
            await connection.execute(_QUERIES["refuse"], refusal._asdict())
        await self.raise_refusals(connection)
        await _confirm(connection, marks, topics)

    async def raise_refusals(self, connection: AsyncConnection[Any]) -> None:
        """Raise `LogLost` where that was noted before."""
        if found := await refusals_of(connection, list(self._topics)):
            raise LogLost("; ".join(map(str, found)))

    async def is_whole(self, connection: AsyncConnection[Any], refusal: Refusal) -> bool:
        """Whether a partition that was refused holds all that was read from it again."""
        place = {"topic": refusal.topic, "partition": refusal.partition, "before": _BEYOND_ALL}
        rows = await (await connection.execute(_QUERIES["trail"], place)).fetchall()
        ends = await end_offsets(self._kafka, [self._topics[refusal.topic]])
        if ends[refusal.topic, refusal.partition] < refusal.applied_to:
            return False
        return not await lost_marks(self._kafka, [Mark(*row) for row in rows], self._compacted)

    async def _refusal(self, connection: AsyncConnection[Any], mark: Mark) -> Refusal:
        first_lost = await self._first_lost(connection, mark.topic, mark.partition, mark.offset)
        row = await (
            await connection.execute(
                _QUERIES["applied"], {"topics": [mark.topic], "partition": mark.partition}
            )
        ).fetchone()
        applied_to = max(mark.offset + 1, row[2] if row else 0)
        why = f"the record that was read at offset {mark.offset} does not stand there any more"
        return Refusal(mark.topic, mark.partition, first_lost, applied_to, why)

    async def _ended_before(
        self,
        connection: AsyncConnection[Any],
        applied: Sequence[tuple[str, int, int]],
        known: Collection[tuple[str, int]],
    ) -> list[Refusal]:
        """Partitions that end before what is applied, though no mark says so."""
        ends = await end_offsets(self._kafka, [self._topics[name] for name in {row[0] for row in applied}])
        return [
            Refusal(
                topic,
                partition,
                min(end, await self._first_lost(connection, topic, partition, _BEYOND_ALL)),
                next_offset,
                f"{next_offset} records were read, and it ends at offset {end}",
            )
            for topic, partition, next_offset in applied
            if (end := ends.get((topic, partition), next_offset)) < next_offset
            and (topic, partition) not in known
        ]

    async def _first_lost(
        self, connection: AsyncConnection[Any], topic: str, partition: int, before: int
    ) -> int:
        """The offset after the last mark that the log agrees with, before one that it does not agree with.

        Where it agrees with one, it agrees with all before it.
        """
        place = {"topic": topic, "partition": partition, "before": before}
        trail = [Mark(*row) for row in await (await connection.execute(_QUERIES["trail"], place)).fetchall()]
        agreeing, disagreeing = -1, len(trail)
        while disagreeing - agreeing > 1:
            middle = (agreeing + disagreeing) // 2
            if await lost_marks(self._kafka, [trail[middle]], self._compacted, settles_seconds=0):
                disagreeing = middle
            else:
                agreeing = middle
        return trail[agreeing].offset + 1 if agreeing >= 0 else 0


async def refusals_of(connection: AsyncConnection[Any], topics: Sequence[str]) -> Sequence[Refusal]:
    """What was found to be lost of these topics, and waits for an operator."""
    rows = await (await connection.execute(_QUERIES["refusals"], {"topics": list(topics)})).fetchall()
    return [Refusal(*row) for row in rows]


def _first_of_each(lost: Sequence[Mark]) -> Sequence[Mark]:
    """The lowest of each partition, of sorted marks."""
    return list({(mark.topic, mark.partition): mark for mark in reversed(lost)}.values())


async def _confirm(connection: AsyncConnection[Any], marks: Sequence[Mark], topics: Sequence[str]) -> None:
    values = {
        "topics": [mark.topic for mark in marks],
        "partitions": [mark.partition for mark in marks],
        "offsets": [mark.offset for mark in marks],
        "digests": [mark.digest for mark in marks],
    }
    await connection.execute(_QUERIES["confirm"], values)
    await connection.execute(_QUERIES["thin_out"], {"topics": topics})
