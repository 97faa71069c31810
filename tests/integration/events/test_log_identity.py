"""Every way in which a log can turn out not to be ours."""

from __future__ import annotations

import asyncio

import pytest

from events.errors import WrongLog
from events.kafka_log import KafkaEventLog
from events.log_identity import check_log
from events.settings import KafkaSettings
from events.topics import Topics
from tests.integration.events.kafka_surgery import add_a_partition, configure, delete, delete_before

pytestmark = pytest.mark.anyio


async def test_a_log_as_it_was_born_is_ours_and_tells_its_cluster(
    kafka_settings: KafkaSettings, topics: Topics
) -> None:
    found = await check_log(kafka_settings, topics, None)
    assert found.cluster_id
    assert found.lifecycle_topic == topics.lifecycle.name
    assert await check_log(kafka_settings, topics, found) == found


async def test_a_log_full_of_records_is_ours(kafka_settings: KafkaSettings, topics: Topics) -> None:
    async with KafkaEventLog(kafka_settings) as log:
        for topic in topics.all():
            await log.append(topic.name, b"key", b"value")
    await check_log(kafka_settings, topics, None)


async def test_another_cluster_is_refused(kafka_settings: KafkaSettings, topics: Topics) -> None:
    found = await check_log(kafka_settings, topics, None)
    with pytest.raises(WrongLog) as refusal:
        await check_log(kafka_settings, topics, found._replace(cluster_id="the-one-before"))
    assert str(refusal.value) == (
        f"the log at {kafka_settings.bootstrap_servers} is that of Kafka cluster {found.cluster_id}, but the "
        "database was filled from cluster the-one-before: correct KAFKA_BOOTSTRAP_SERVERS or DATABASE_URL, "
        "or, if this is the right log, drop the database's schemas and let them be filled again"
    )


async def test_another_environment_of_the_same_cluster_is_refused(
    kafka_settings: KafkaSettings, topics: Topics
) -> None:
    """Two prefixes with one database would mix their keys."""
    found = await check_log(kafka_settings, topics, None)
    with pytest.raises(WrongLog, match="correct KAFKA_TOPIC_PREFIX or DATABASE_URL"):
        await check_log(kafka_settings, topics, found._replace(lifecycle_topic="staging.keys.lifecycle"))


@pytest.mark.parametrize("store", ["lifecycle", "usage"])
async def test_a_deleted_head_is_refused(kafka_settings: KafkaSettings, topics: Topics, store: str) -> None:
    name = getattr(topics, store).name
    async with KafkaEventLog(kafka_settings) as log:
        await log.append(name, b"key", b"first")
        second = await log.append(name, b"key", b"second")
    await delete_before(kafka_settings, second)
    with pytest.raises(WrongLog) as refusal:
        await check_log(kafka_settings, topics, None)
    assert str(refusal.value) == (
        f"{name}/{second.partition} begins at offset 1, its first records were deleted: "
        "restore the topic as docs/operations.md says"
    )


@pytest.mark.parametrize("store", ["lifecycle", "usage"])
@pytest.mark.parametrize(
    ("name", "value", "agreed"),
    [
        ("retention_ms", "604800000", "-1"),
        ("retention_bytes", "1000000", "-1"),
        ("cleanup_policy", "compact", "delete"),
        ("cleanup_policy", "compact,delete", "delete"),
    ],
)
async def test_a_store_that_will_forget_is_refused(
    kafka_settings: KafkaSettings, topics: Topics, store: str, name: str, value: str, agreed: str
) -> None:
    topic = getattr(topics, store)
    await configure(kafka_settings, topic, **{name: value})
    with pytest.raises(WrongLog) as refusal:
        await check_log(kafka_settings, topics, None)
    option = name.replace("_", ".")
    assert str(refusal.value).startswith(
        f"{topic.name} has {option}={value} instead of {agreed}: run `kafka-"
    )
    assert str(refusal.value).endswith(f"--add-config {option}={agreed}`")


async def test_more_partitions_than_at_birth_are_refused(
    kafka_settings: KafkaSettings, topics: Topics
) -> None:
    await add_a_partition(kafka_settings, topics.rate_counters)
    with pytest.raises(
        WrongLog, match=r"ratelimit\.counters has 13 partitions instead of the 12 .* make the topics"
    ):
        await check_log(kafka_settings, topics, None)


async def test_a_missing_topic_is_refused(kafka_settings: KafkaSettings, topics: Topics) -> None:
    await delete(kafka_settings, topics.usage)
    with pytest.raises(WrongLog, match=r"usage is missing: run `hokusai-auth topics apply`"):
        await check_log(kafka_settings, topics, None)


async def test_everything_that_is_wrong_is_told_together(
    kafka_settings: KafkaSettings, topics: Topics
) -> None:
    await configure(kafka_settings, topics.lifecycle, retention_ms="604800000")
    async with KafkaEventLog(kafka_settings) as log:
        await log.append(topics.usage.name, b"key", b"first")
        await delete_before(kafka_settings, await log.append(topics.usage.name, b"key", b"second"))
    await add_a_partition(kafka_settings, topics.usage)
    await delete(kafka_settings, topics.statements)
    with pytest.raises(WrongLog) as refusal:
        await check_log(kafka_settings, topics, None)
    assert [
        text
        for text in ("retention.ms", "13 partitions", "is missing", "offset 1")
        if text in str(refusal.value)
    ] == ["retention.ms", "13 partitions", "is missing", "offset 1"]


async def test_topics_that_may_forget_may(kafka_settings: KafkaSettings, topics: Topics) -> None:
    async with KafkaEventLog(kafka_settings) as log:
        await log.append(topics.rate_counters.name, b"key", b"old")
        await delete_before(kafka_settings, await log.append(topics.rate_counters.name, b"key", b"new"))
    await configure(kafka_settings, topics.rate_counters, retention_ms="60000")
    await check_log(kafka_settings, topics, None)


async def test_who_keeps_rows_of_a_topic_depends_on_what_it_keeps(
    kafka_settings: KafkaSettings, topics: Topics
) -> None:
    """Statements that are forgotten would be closed anew; what is late would depend on a client's clock."""
    await configure(kafka_settings, topics.statements, retention_ms="604800000")
    await configure(kafka_settings, topics.usage, message_timestamp_type="CreateTime")
    await check_log(kafka_settings, topics, None)
    with pytest.raises(WrongLog) as refusal:
        await check_log(kafka_settings, topics, None, [topics.statements, topics.usage])
    for told in ("billing.statements has retention.ms=604800000", "message.timestamp.type=CreateTime"):
        assert told in str(refusal.value)


@pytest.mark.parametrize("name", ["hourly_usage", "statements"])
async def test_a_topic_that_rows_are_kept_of_begins_at_its_first_record(
    kafka_settings: KafkaSettings, topics: Topics, name: str
) -> None:
    topic = getattr(topics, name)
    # A compacted topic loses nothing by request.
    await configure(kafka_settings, topic, cleanup_policy="delete")
    async with KafkaEventLog(kafka_settings) as log:
        await log.append(topic.name, b"key", b"first")
        await delete_before(kafka_settings, await log.append(topic.name, b"key", b"second"))
    await configure(kafka_settings, topic, cleanup_policy=topic.configuration["cleanup.policy"])
    await check_log(kafka_settings, topics, None)
    with pytest.raises(WrongLog, match=rf"{name.split('_')[0]}.* begins at offset 1"):
        await check_log(kafka_settings, topics, None, [topic])


async def test_a_check_is_cheap(kafka_settings: KafkaSettings, topics: Topics) -> None:
    """Every process asks every minute."""
    await check_log(kafka_settings, topics, None)
    async with asyncio.timeout(5):
        for _ in range(10):
            await check_log(kafka_settings, topics, None)
