"""What a Kafka cluster says about itself: its id, its topics, where their partitions begin and end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import groupby

from aiokafka import AIOKafkaConsumer, TopicPartition  # type: ignore[import-untyped]
from aiokafka.admin import AIOKafkaAdminClient  # type: ignore[import-untyped]
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType  # type: ignore[import-untyped]
from aiokafka.errors import UnknownTopicOrPartitionError, for_code  # type: ignore[import-untyped]
from aiokafka.protocol.metadata import MetadataRequest  # type: ignore[import-untyped]

from events.kafka_clients import REQUEST_TIMEOUT_MS, administration, log_unavailable, running
from events.settings import KafkaSettings
from events.topics import Topic

_MISSING = UnknownTopicOrPartitionError.errno
_NO_LEADER_YET = 5


@dataclass(frozen=True, slots=True)
class FoundTopic:
    """A topic as it is. `replicas`: of the partition that has the fewest."""

    partitions: int
    replicas: int
    configuration: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster and, by name, those of the topics asked for that exist."""

    cluster_id: str
    topics: Mapping[str, FoundTopic]


async def describe(admin: AIOKafkaAdminClient, topics: Collection[Topic]) -> Cluster:
    """Ask for the cluster and these topics, with what is agreed of their configuration.

    Raises aiokafka's errors.
    """
    # The public describe_topics would make a broker that creates topics by itself do so.
    names = [topic.name for topic in topics]
    metadata = await admin._send_request(MetadataRequest(names, allow_auto_topic_creation=False))
    answer = metadata.to_object()
    partitions = {found["topic"]: found["partitions"] for found in answer["topics"] if _exists(found)}
    configurations = await _configurations(admin, [topic for topic in topics if topic.name in partitions])
    found_topics = {
        name: FoundTopic(
            partitions=len(partitions[name]),
            replicas=min(len(partition["replicas"]) for partition in partitions[name]),
            configuration=configuration,
        )
        for name, configuration in configurations.items()
    }
    return Cluster(answer["cluster_id"], found_topics)


async def find(kafka: KafkaSettings, topic: Topic) -> FoundTopic | None:
    """One topic as it is; None when it does not exist. Raises aiokafka's errors."""
    async with administration(kafka) as admin:
        return (await describe(admin, [topic])).topics.get(topic.name)


async def first_offsets(kafka: KafkaSettings, topics: Iterable[Topic]) -> Mapping[tuple[str, int], int]:
    """Where each partition begins, by topic name and partition. Raises aiokafka's errors."""
    async with _asking_for_offsets(kafka, topics) as (consumer, partitions):
        return _by_name(await consumer.beginning_offsets(partitions))


async def end_offsets(kafka: KafkaSettings, topics: Iterable[Topic]) -> Mapping[tuple[str, int], int]:
    """Where each partition ends for its readers, by topic name and partition. Raises `LogUnavailable`.

    That is the last stable offset of topics that are read committed: nobody gets beyond an open transaction.
    """
    ends: dict[tuple[str, int], int] = {}
    by_isolation = groupby(sorted(topics, key=_isolation_level), key=_isolation_level)
    for isolation_level, some in by_isolation:
        ends |= await _ends(kafka, some, isolation_level)
    return ends


async def partition_ends(kafka: KafkaSettings, topic: Topic) -> Mapping[int, int]:
    """Where each partition of one topic ends for its readers, see `end_offsets`. Raises `LogUnavailable`."""
    ends = await end_offsets(kafka, [topic])
    return {partition: end for (_, partition), end in ends.items()}


async def high_watermarks(kafka: KafkaSettings, topic: Topic) -> Mapping[int, int]:
    """Where each partition of one topic ends, open transactions included. Raises `LogUnavailable`."""
    ends = await _ends(kafka, [topic], "read_uncommitted")
    return {partition: end for (_, partition), end in ends.items()}


async def wait_usable(kafka: KafkaSettings, topics: Iterable[Topic]) -> None:
    """Wait until each partition has a leader that knows it is the leader. Raises aiokafka's errors."""
    # Metadata names a leader before that broker has heard of it; it can tell an offset only afterwards.
    async with _asking_for_offsets(kafka, topics) as (consumer, partitions):
        await consumer.end_offsets(partitions)


async def _ends(
    kafka: KafkaSettings, topics: Iterable[Topic], isolation_level: str
) -> Mapping[tuple[str, int], int]:
    with log_unavailable("the log does not say where it ends"):
        async with _asking_for_offsets(kafka, topics, isolation_level) as (consumer, partitions):
            return _by_name(await consumer.end_offsets(partitions))


def _by_name(offsets: Mapping[TopicPartition, int]) -> Mapping[tuple[str, int], int]:
    return {(place.topic, place.partition): offset for place, offset in offsets.items()}


def _isolation_level(topic: Topic) -> str:
    return topic.isolation_level


@asynccontextmanager
async def _asking_for_offsets(
    kafka: KafkaSettings, topics: Iterable[Topic], isolation_level: str = "read_uncommitted"
) -> AsyncIterator[tuple[AIOKafkaConsumer, list[TopicPartition]]]:
    partitions = [
        TopicPartition(topic.name, partition) for topic in topics for partition in range(topic.partitions)
    ]
    consumer = AIOKafkaConsumer(
        **kafka.client_options(), request_timeout_ms=REQUEST_TIMEOUT_MS, isolation_level=isolation_level
    )
    async with running(consumer, kafka):
        # It would learn the topics one by one, 0.1 s each.
        await consumer._client.set_topics({partition.topic for partition in partitions})
        yield consumer, partitions


async def _configurations(
    admin: AIOKafkaAdminClient, topics: Collection[Topic]
) -> Mapping[str, Mapping[str, str]]:
    if not topics:
        return {}
    asked = [
        ConfigResource(ConfigResourceType.TOPIC, topic.name, dict.fromkeys(topic.configuration))
        for topic in topics
    ]
    configurations = {}
    for answer in await admin.describe_configs(asked):
        for error_code, message, _, name, entries in answer.resources:
            if error_code == _MISSING:  # deleted, or created, a moment ago
                continue
            if error_code:
                raise for_code(error_code)(f"{name}: {message}")
            configurations[name] = {entry[0]: entry[1] for entry in entries}
    return configurations


def _exists(found: Mapping[str, object]) -> bool:
    error_code = found["error_code"]
    if error_code in (0, _NO_LEADER_YET):
        return bool(found["partitions"])
    if error_code == _MISSING:
        return False
    raise for_code(error_code)(found["topic"])
