"""Every topic of the platform: its name, its record key, what it keeps and for how long."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field

from events.settings import KafkaSettings, Settings

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
#: Of records that travel together, and so of one record: Kafka's own limit.
LARGEST_BATCH_BYTES = 1_048_588

#: Partition counts are for life: a lineage's records must never move to another partition.
PARTITIONS = 12

KEEP_EVERYTHING = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
#: The event stores: everything, in the broker's time, so that no client's clock decides what is late.
KEPT_FOR_EVER = {**KEEP_EVERYTHING, "message.timestamp.type": "LogAppendTime"}
#: Every reader must be able to unpack what the broker hands out, and to hold it. The broker would pack all
#: records anew in a codec that is set on the topic, and refuse what is larger than is set there.
READABLE = {"compression.type": "producer", "max.message.bytes": str(LARGEST_BATCH_BYTES)}
KEEP_90_DAYS = {"cleanup.policy": "delete", "retention.ms": str(90 * DAY_MS), "retention.bytes": "-1"}


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. `is_event_store`: a source of truth, that must hold every record since offset 0.

    `is_optional`: deployments that are older than the topic go on without it until it is applied.
    `is_read_committed`: transactions of its writers are honoured. Readers skip what was aborted, wait for
    what is open, and take the last stable offset for the end.
    """

    name: str
    record_key: str
    configuration: Mapping[str, str] = field(hash=False)
    partitions: int = PARTITIONS
    is_event_store: bool = False
    is_optional: bool = False
    is_read_committed: bool = False

    @property
    def isolation_level(self) -> str:
        """As Kafka's clients call how its readers read it."""
        return "read_committed" if self.is_read_committed else "read_uncommitted"


class Topics(Settings):
    """The topics under one prefix; environments and tests share a broker by different prefixes."""

    prefix: str = Field(default="", alias="KAFKA_TOPIC_PREFIX", pattern=r"^[a-zA-Z0-9._-]{0,100}$")
    replication_factor: int = Field(default=1, alias="KAFKA_REPLICATION_FACTOR", ge=1)
    min_insync_replicas: int = Field(default=1, alias="KAFKA_MIN_INSYNC_REPLICAS", ge=1)

    @classmethod
    def contradictions(cls, values: Mapping[str, Any], given: Collection[str]) -> Iterator[str]:
        yield from super().contradictions(values, given)
        replicas, needed = values.get("KAFKA_REPLICATION_FACTOR"), values.get("KAFKA_MIN_INSYNC_REPLICAS")
        if replicas is not None and needed is not None and needed > replicas:
            yield "KAFKA_MIN_INSYNC_REPLICAS: more than KAFKA_REPLICATION_FACTOR: nothing could be appended"

    @property
    def lifecycle(self) -> Topic:
        """The event store of keys: every `KeyEvent`."""
        return self._topic("keys.lifecycle", "lineage_id", KEPT_FOR_EVER, is_event_store=True)

    @property
    def lifecycle_dead_letters(self) -> Topic:
        return self._topic("keys.lifecycle.dlq", "that of the original", KEEP_90_DAYS)

    @property
    def peppers(self) -> Topic:
        """Every pepper that a node of the api was ever started with, by id."""
        return self._topic("keys.peppers", "pepper_id", {"cleanup.policy": "compact"}, is_optional=True)

    @property
    def usage(self) -> Topic:
        """The event store of use: KeyUsed."""
        return self._topic("keys.usage", "key_id", KEPT_FOR_EVER, is_event_store=True, is_read_committed=True)

    @property
    def usage_dead_letters(self) -> Topic:
        return self._topic("keys.usage.dlq", "that of the original", KEEP_90_DAYS)

    @property
    def rate_counters(self) -> Topic:
        """Each node's absolute count for (lineage, hour). Not compacted: that would keep one node's only."""
        kept = {
            "cleanup.policy": "delete",
            "retention.ms": str(3 * HOUR_MS),
            "retention.bytes": "-1",
            "segment.ms": str(HOUR_MS // 6),
        }
        return self._topic("ratelimit.counters", "lineage_id", kept)

    @property
    def hourly_usage(self) -> Topic:
        """Absolute totals of each key and hour; the highest revision of each is right."""
        return self._topic("usage.hourly", "key_id + hour", {"cleanup.policy": "compact"})

    @property
    def usage_progress(self) -> Topic:
        """Up to when uses are in `usage.hourly`, in the broker's time. Rolled hourly, so it stays short."""
        kept = {
            "cleanup.policy": "compact",
            "message.timestamp.type": "LogAppendTime",
            "segment.ms": str(HOUR_MS),
        }
        return self._topic("usage.progress", "usage", kept, is_optional=True)

    @property
    def statements(self) -> Topic:
        """Closed months; the first record of each (lineage, month) is the statement."""
        return self._topic("billing.statements", "lineage_id + month", KEEP_EVERYTHING)

    def all(self) -> tuple[Topic, ...]:
        return (
            self.lifecycle,
            self.lifecycle_dead_letters,
            self.peppers,
            self.usage,
            self.usage_dead_letters,
            self.rate_counters,
            self.hourly_usage,
            self.usage_progress,
            self.statements,
        )

    def _topic(
        self,
        name: str,
        record_key: str,
        configuration: Mapping[str, str],
        *,
        is_event_store: bool = False,
        is_optional: bool = False,
        is_read_committed: bool = False,
    ) -> Topic:
        agreed = {
            **configuration,
            **READABLE,
            "min.insync.replicas": str(self.min_insync_replicas),
            "unclean.leader.election.enable": "false",
        }
        return Topic(
            f"{self.prefix}{name}",
            record_key,
            agreed,
            is_event_store=is_event_store,
            is_optional=is_optional,
            is_read_committed=is_read_committed,
        )


class LogSettings(KafkaSettings, Topics):
    """Where the log is, and how its topics are; what every process needs to work with it."""
