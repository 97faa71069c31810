"""The log seen from outside: records put into it by hand, read back, topics altered, readers compared."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import psycopg
from aiokafka import TopicPartition  # type: ignore[import-untyped]
from aiokafka.admin import (  # type: ignore[import-untyped]
    AIOKafkaAdminClient,
    NewPartitions,
    RecordsToDelete,
)
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType  # type: ignore[import-untyped]

from events.codec import encode
from events.kafka_clients import administration
from events.kafka_log import KafkaEventLog, KafkaLogReader
from events.keys import KeyEvent
from events.lifecycle import Folded, fold
from events.lineage import Lineage
from events.log import Position, Record
from events.topic_admin import apply_topics
from events.topics import Topic
from services.projector.verification import verify
from tests.acceptance.eventually import eventually
from tests.acceptance.stack import Stack
from tests.log_records import everything

T = TypeVar("T")

CATCH_UP_SECONDS = 15.0


def create_topics(stack: Stack) -> None:
    run(apply_topics(stack.kafka, stack.topics))


def delete_topics(stack: Stack) -> None:
    _administer(stack, lambda admin: admin.delete_topics([topic.name for topic in stack.topics.all()]))


def append(stack: Stack, key: str | None, value: bytes | None) -> Position:
    """Put a record of our own making into the lifecycle topic."""

    async def put() -> Position:
        async with KafkaEventLog(stack.kafka) as log:
            return await log.append(stack.topics.lifecycle.name, key.encode() if key else None, value)

    return run(put())


def append_event(stack: Stack, event: KeyEvent) -> Position:
    return append(stack, event.partitionkey, encode(event))


def records(stack: Stack, topic: Topic) -> Sequence[Record]:
    """Everything that the topic holds now."""
    return run(everything(stack.kafka, topic))


def folded(stack: Stack) -> tuple[dict[str, Lineage], list[Folded]]:
    """Every lineage as the log tells it, and what became of each record."""
    lineages: dict[str, Lineage] = {}
    outcomes = []
    for record in records(stack, stack.topics.lifecycle):
        outcome = fold(record, lineages.get)
        if outcome.lineage is not None:
            lineages[outcome.lineage.lineage_id] = outcome.lineage
        outcomes.append(outcome)
    return lineages, outcomes


def end_of_log(stack: Stack, partition: int) -> int:
    """The offset after the last record of a partition of the lifecycle topic."""
    return run(_ends(stack)).get(partition, 0)


def postgres_agrees(stack: Stack) -> None:
    """Wait until the projection has reached the end of the log, then compare them row for row."""
    (ends,) = eventually(lambda: (run(_ends(stack)),), CATCH_UP_SECONDS, "the end of the log")
    eventually(lambda: _projected(stack) == ends, CATCH_UP_SECONDS, f"the projection to reach {ends}")
    found = eventually(
        lambda: run(verify(stack.kafka, stack.topics, stack.database_url)), CATCH_UP_SECONDS, "the auditor"
    )
    assert found.problems == []


def alter_topic(stack: Stack, topic: Topic, name: str, value: str) -> None:
    """Set one setting of a topic, as an operator would by mistake."""
    resource = ConfigResource(ConfigResourceType.TOPIC, topic.name, {name: value})
    _administer(stack, lambda admin: admin.alter_configs([resource]))


def add_partitions(stack: Stack, topic: Topic, total: int) -> None:
    _administer(stack, lambda admin: admin.create_partitions({topic.name: NewPartitions(total)}))


def delete_first_record(stack: Stack, topic: Topic, partition: int) -> None:
    """Forget the head of a partition, as retention would."""
    deletion = {TopicPartition(topic.name, partition): RecordsToDelete(before_offset=1)}
    _administer(stack, lambda admin: admin.delete_records(deletion))


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def _administer(stack: Stack, order: Callable[[AIOKafkaAdminClient], Awaitable[object]]) -> None:
    async def administer() -> None:
        async with administration(stack.kafka) as admin:
            await order(admin)

    run(administer())


async def _ends(stack: Stack) -> dict[int, int]:
    async with KafkaLogReader(stack.kafka, stack.topics.lifecycle) as reader:
        await reader.begin({})
        return {partition: end for partition, end in (await reader.end_offsets()).items() if end}


def _projected(stack: Stack) -> dict[int, int]:
    query = "SELECT partition, next_offset FROM projector.positions WHERE topic = %s AND next_offset > 0"
    with psycopg.connect(stack.database_url) as connection:
        return dict(connection.execute(query, [stack.topics.lifecycle.name]).fetchall())
