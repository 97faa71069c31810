"""Topics are created as agreed, compared, and never altered."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from itertools import chain

import pytest

from events.errors import LogUnavailable, TopicMismatch
from events.kafka_clients import administration
from events.kafka_cluster import describe
from events.kafka_log import KafkaEventLog
from events.settings import KafkaSettings
from events.topic_admin import apply_topics, compare_topics
from events.topics import Topics
from tests.integration.events.kafka_surgery import add_a_partition, configure, delete

pytestmark = pytest.mark.anyio


@pytest.fixture
async def unmade(kafka_settings: KafkaSettings) -> AsyncIterator[Topics]:
    """Topics that nobody has created yet."""
    topics = Topics.from_environment({"KAFKA_TOPIC_PREFIX": f"test-{uuid.uuid4().hex[:12]}."})
    yield topics
    async with administration(kafka_settings) as admin:
        await admin.delete_topics([topic.name for topic in topics.all()])


async def test_missing_topics_are_created_as_agreed(kafka_settings: KafkaSettings, unmade: Topics) -> None:
    created = await apply_topics(kafka_settings, unmade)
    assert created == [topic.name for topic in unmade.all()]
    async with administration(kafka_settings) as admin:
        found = (await describe(admin, unmade.all())).topics
    for topic in unmade.all():
        assert found[topic.name].partitions == topic.partitions
        assert found[topic.name].configuration == topic.configuration
    assert await compare_topics(kafka_settings, unmade) == []


async def test_applying_again_creates_nothing(kafka_settings: KafkaSettings, topics: Topics) -> None:
    assert await apply_topics(kafka_settings, topics) == []


async def test_only_what_is_missing_is_created(kafka_settings: KafkaSettings, topics: Topics) -> None:
    await delete(kafka_settings, topics.statements)
    assert await apply_topics(kafka_settings, topics) == [topics.statements.name]


async def test_callers_at_once_create_each_topic_once(kafka_settings: KafkaSettings, unmade: Topics) -> None:
    """Every process of a deployment may apply at its start."""
    created = await asyncio.gather(*(apply_topics(kafka_settings, unmade) for _ in range(4)))
    assert sorted(chain(*created)) == sorted(topic.name for topic in unmade.all())


async def test_every_partition_takes_records_at_once(
    kafka_settings: KafkaSettings, unmade: Topics, caplog: pytest.LogCaptureFixture
) -> None:
    """The driver would try again by itself, and say so: that takes 0.1 s and looks like a fault."""
    async with KafkaEventLog(kafka_settings) as log:
        await apply_topics(kafka_settings, unmade)
        appends = [
            log.append(topic.name, str(number).encode(), b"value")
            for topic in unmade.all()
            for number in range(60)
        ]
        await asyncio.gather(*appends)
    assert [
        record.getMessage() for record in caplog.records if "produce response" in record.getMessage()
    ] == []


async def test_a_missing_topic_is_a_difference(kafka_settings: KafkaSettings, unmade: Topics) -> None:
    differences = await compare_topics(kafka_settings, unmade)
    assert len(differences) == len(unmade.all())
    assert differences[0] == f"{unmade.lifecycle.name} is missing: run `hokusai-auth topics apply`"


async def test_what_differs_is_told_with_its_repair_and_left_as_it_is(
    kafka_settings: KafkaSettings, topics: Topics
) -> None:
    await configure(kafka_settings, topics.lifecycle, retention_ms="604800000", cleanup_policy="compact")
    await add_a_partition(kafka_settings, topics.hourly_usage)
    with pytest.raises(TopicMismatch) as mismatch:
        await apply_topics(kafka_settings, topics)
    policy, retention, partitions = mismatch.value.differences
    servers, name = kafka_settings.bootstrap_servers, topics.lifecycle.name
    assert policy.startswith(f"{name} has cleanup.policy=compact instead of delete: run `")
    assert retention == (
        f"{name} has retention.ms=604800000 instead of -1: "
        f"run `kafka-configs.sh --bootstrap-server {servers} --alter "
        f"--entity-type topics --entity-name {name} --add-config retention.ms=-1`"
    )
    assert partitions.startswith(f"{topics.hourly_usage.name} has 13 partitions instead of the 12")
    assert await compare_topics(kafka_settings, topics) == list(mismatch.value.differences)


async def test_nothing_is_created_beside_a_topic_that_differs(
    kafka_settings: KafkaSettings, topics: Topics
) -> None:
    await configure(kafka_settings, topics.lifecycle, retention_ms="604800000")
    await delete(kafka_settings, topics.statements)
    with pytest.raises(TopicMismatch):
        await apply_topics(kafka_settings, topics)
    assert f"{topics.statements.name} is missing" in (await compare_topics(kafka_settings, topics))[-1]


async def test_too_few_brokers_for_the_replicas_are_told(
    kafka_settings: KafkaSettings, unmade: Topics
) -> None:
    wanted = unmade.model_copy(update={"replication_factor": 3})
    with pytest.raises(TopicMismatch, match=r"cannot be created: .*replication factor"):
        await apply_topics(kafka_settings, wanted)
    assert await apply_topics(kafka_settings, unmade) != []
    assert len(
        [one for one in await compare_topics(kafka_settings, wanted) if "1 brokers instead of 3" in one]
    ) == len(unmade.all())


async def test_a_deadline_that_is_too_short_is_told(kafka_settings: KafkaSettings, unmade: Topics) -> None:
    with pytest.raises(LogUnavailable, match="topics were not applied: no answer in time"):
        await apply_topics(kafka_settings, unmade, timeout_seconds=0)
