"""The agreed topics and those that exist: create what is missing, tell what differs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiokafka.admin import AIOKafkaAdminClient, NewTopic  # type: ignore[import-untyped]
from aiokafka.errors import for_code  # type: ignore[import-untyped]

from events.errors import TopicMismatch
from events.kafka_clients import administration, log_unavailable
from events.kafka_cluster import describe, wait_usable
from events.settings import KafkaSettings
from events.topic_differences import topic_differences
from events.topics import Topic, Topics

_CREATED = 0
_CREATED_BY_ANOTHER = 36


async def apply_topics(kafka: KafkaSettings, topics: Topics, timeout_seconds: float = 30.0) -> list[str]:
    """Create the topics that are missing and return their names; all are ready for use then.

    Harmless when repeated, and when several callers do it at once. What exists is never altered: raises
    `TopicMismatch` when a topic differs or cannot be created, `LogUnavailable` when Kafka does not answer.
    """
    with log_unavailable("topics were not applied"):
        async with asyncio.timeout(timeout_seconds), administration(kafka) as admin:
            found = (await describe(admin, topics.all())).topics
            existing = [topic for topic in topics.all() if topic.name in found]
            missing = [topic for topic in topics.all() if topic.name not in found]
            _refuse(await _differences(admin, kafka, topics, existing))
            created = await _create(admin, missing, topics.replication_factor)
            await wait_usable(kafka, topics.all())
            # Another caller may have created some of them meanwhile, with other settings.
            _refuse(await _differences(admin, kafka, topics, topics.all()))
    return created


async def compare_topics(kafka: KafkaSettings, topics: Topics, timeout_seconds: float = 10.0) -> list[str]:
    """A sentence for each difference from the agreement, with its repair. Raises `LogUnavailable`."""
    with log_unavailable("topics were not compared"):
        async with asyncio.timeout(timeout_seconds), administration(kafka) as admin:
            return await _differences(admin, kafka, topics, topics.all())


async def _create(admin: AIOKafkaAdminClient, missing: Sequence[Topic], replication_factor: int) -> list[str]:
    if not missing:
        return []
    wanted = [
        NewTopic(topic.name, topic.partitions, replication_factor, topic_configs=dict(topic.configuration))
        for topic in missing
    ]
    answer = (await admin.create_topics(wanted)).topic_errors
    failed = [one for one in answer if one[1] not in (_CREATED, _CREATED_BY_ANOTHER)]
    for name, error_code, message in failed:
        if for_code(error_code).retriable:
            raise for_code(error_code)(f"{name}: {message}")
    _refuse(
        [f"{name} cannot be created: {message or for_code(code).__name__}" for name, code, message in failed]
    )
    return [name for name, error_code, _ in answer if error_code == _CREATED]


async def _differences(
    admin: AIOKafkaAdminClient, kafka: KafkaSettings, topics: Topics, compared: Sequence[Topic]
) -> list[str]:
    found = (await describe(admin, compared)).topics
    return [
        difference
        for topic in compared
        for difference in topic_differences(
            topic,
            found.get(topic.name),
            agreed=topic.configuration,
            bootstrap_servers=kafka.bootstrap_servers,
            replicas=topics.replication_factor,
        )
    ]


def _refuse(differences: Sequence[str]) -> None:
    if differences:
        raise TopicMismatch(differences)
