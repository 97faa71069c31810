"""How a topic differs from what was agreed, and how to repair that: a sentence for each difference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from events.kafka_cluster import FoundTopic
from events.topics import Topic


def topic_differences(
    topic: Topic,
    found: FoundTopic | None,
    *,
    agreed: Mapping[str, str],
    bootstrap_servers: str,
    replicas: int = 1,
) -> Iterator[str]:
    """Compare a topic as it is (None: it is missing) with its birth and with the `agreed` configuration."""
    if found is None:
        yield f"{topic.name} is missing: run `hokusai-auth topics apply`"
        return
    if found.partitions != topic.partitions:
        yield (
            f"{topic.name} has {found.partitions} partitions instead of the {topic.partitions} it is born "
            "with, so records of one key may be in two of them: make the topics anew under another "
            "KAFKA_TOPIC_PREFIX and restore each of them from this one, as docs/operations.md says"
        )
    if found.replicas < replicas:
        yield (
            f"{topic.name} is kept by {found.replicas} brokers instead of {replicas}: "
            f"run `kafka-reassign-partitions.sh --bootstrap-server {bootstrap_servers}`"
        )
    for name, value in agreed.items():
        if found.configuration.get(name) != value:
            yield (
                f"{topic.name} has {name}={found.configuration.get(name)} instead of {value}: "
                f"run `kafka-configs.sh --bootstrap-server {bootstrap_servers} --alter --entity-type topics "
                f"--entity-name {topic.name} --add-config {name}={value}`"
            )
