"""Is this our log? The one that the read models were built from, with nothing forgotten since."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from events.errors import WrongLog
from events.kafka_clients import administration, log_unavailable
from events.kafka_cluster import Cluster, describe, first_offsets
from events.settings import KafkaSettings
from events.topic_differences import topic_differences
from events.topics import KEEP_EVERYTHING, KEPT_FOR_EVER, Topic, Topics


class LogIdentity(NamedTuple):
    """Which log: the cluster, and its lifecycle topic, which tells the environments of a cluster apart."""

    cluster_id: str
    lifecycle_topic: str


async def check_log(
    kafka: KafkaSettings,
    topics: Topics,
    known: LogIdentity | None,
    kept: Collection[Topic] = (),
    timeout_seconds: float = 10.0,
) -> LogIdentity:
    """Return which log this is if it is ours: the known one (None: any), with nothing lost or moved.

    Every topic that is not optional, or that the caller has `kept` rows of, exists with the partitions it was
    born with; an event store holds each record since offset 0 and keeps it for ever. Topics of `kept` also
    begin at offset 0 and keep what was agreed on, and in whose time. Raises `WrongLog`, which names all that
    is wrong and how to repair it, and `LogUnavailable`. Opens and closes connections of its own; takes some
    20 ms.
    """
    with log_unavailable("the log was not checked"):
        async with asyncio.timeout(timeout_seconds):
            async with administration(kafka) as admin:
                cluster = await describe(admin, _required(topics, kept))
            found = LogIdentity(cluster.cluster_id, topics.lifecycle.name)
            if known not in (None, found):
                raise WrongLog(_another_log(kafka, found, known))
            problems = list(_altered(kafka, topics, kept, cluster))
            stores = [topic for topic in topics.all() if _is_whole_store(topic, kept, cluster)]
            problems += _forgotten(await first_offsets(kafka, stores))
    if problems:
        raise WrongLog("; ".join(problems))
    return found


def _required(topics: Topics, kept: Collection[Topic]) -> list[Topic]:
    return [topic for topic in topics.all() if topic in kept or not topic.is_optional]


def _another_log(kafka: KafkaSettings, found: LogIdentity, known: LogIdentity) -> str:
    if found.cluster_id == known.cluster_id:
        return (
            f"the log is {found.lifecycle_topic}, but the database was filled from {known.lifecycle_topic}: "
            "correct KAFKA_TOPIC_PREFIX or DATABASE_URL, each environment needs a database of its own"
        )
    return (
        f"the log at {kafka.bootstrap_servers} is that of Kafka cluster {found.cluster_id}, but the database "
        f"was filled from cluster {known.cluster_id}: correct KAFKA_BOOTSTRAP_SERVERS or DATABASE_URL, or, "
        "if this is the right log, drop the database's schemas and let them be filled again"
    )


def _altered(
    kafka: KafkaSettings, topics: Topics, kept: Collection[Topic], cluster: Cluster
) -> Iterator[str]:
    for topic in _required(topics, kept):
        names = (KEPT_FOR_EVER if topic in kept else KEEP_EVERYTHING if topic.is_event_store else {}).keys()
        agreed = {name: value for name, value in topic.configuration.items() if name in names}
        found = cluster.topics.get(topic.name)
        yield from topic_differences(topic, found, agreed=agreed, bootstrap_servers=kafka.bootstrap_servers)


def _is_whole_store(topic: Topic, kept: Collection[Topic], cluster: Cluster) -> bool:
    found = cluster.topics.get(topic.name)
    return (
        (topic.is_event_store or topic in kept) and found is not None and found.partitions >= topic.partitions
    )


def _forgotten(first_offsets: Mapping[tuple[str, int], int]) -> Iterator[str]:
    for (name, partition), offset in sorted(first_offsets.items()):
        if offset > 0:
            yield (
                f"{name}/{partition} begins at offset {offset}, its first records were deleted: "
                "restore the topic as docs/operations.md says"
            )
