"""The agreement that every process keeps: events, their meaning, topics, and the ports of the log.

These are the names for services that emit use, for billing teams that read totals and statements, and for
auditors who read the log; `examples/` has a program for each of the first two. What every key of the log is,
as far as the log goes at this moment:

    async def replay(kafka: KafkaSettings, topics: Topics) -> dict[str, Lineage]:
        lineages: dict[str, Lineage] = {}
        async with KafkaLogReader(kafka, topics.lifecycle) as reader:
            await reader.begin({})
            ends = await reader.end_offsets()
            while any(reader.positions()[partition] < end for partition, end in ends.items()):
                for record in await reader.read():
                    if lineage := fold(record, lineages.get).lineage:
                        lineages[lineage.lineage_id] = lineage
        return lineages

Keys of a lineage that is `parked` count for nothing: its history could not be understood to the end.

`events.projection`, which fills a Postgres database from a topic, is not among these names: it is imported
by itself, and brings the database driver with it. Modules inside `events` and the services import from the
module that defines a name, never from here.
"""

from __future__ import annotations

from events.codec import Event, Total, decode, decode_total, encode
from events.dead_letters import DeadLetter
from events.emitter import UsageEmitter
from events.errors import (
    EventsError,
    LogUnavailable,
    SettingsError,
    TopicMismatch,
    UnreadableRecord,
    UsageNotDelivered,
    WrongLog,
)
from events.kafka_log import KafkaEventLog, KafkaLogReader
from events.keys import (
    IssuedKey,
    KeyCreated,
    KeyEvent,
    KeyRefingerprinted,
    KeyRevoked,
    KeyRotated,
    Refingerprinting,
    Revocation,
    Rotation,
)
from events.lifecycle import Folded, Unreadable, fold, read_event
from events.lineage import Applied, Ignored, Key, KeySettings, Lineage, Outcome, Parked, apply
from events.log import EventLog, LogReader, Position, Record
from events.log_identity import LogIdentity, check_log
from events.memory_log import MemoryLog
from events.settings import KafkaSettings
from events.topic_admin import apply_topics, compare_topics
from events.topics import Topic, Topics
from events.totals import (
    HourlyTotals,
    HourlyUsage,
    RevisionsPart,
    Statement,
    StatementClosed,
    StatementLine,
    StatementRevisions,
    WindowCount,
)
from events.usage import KeyUsed, Usage
from events.usage_progress import PublishedUsage, UsagePublished

__all__ = [
    "Applied",
    "DeadLetter",
    "Event",
    "EventLog",
    "EventsError",
    "Folded",
    "HourlyTotals",
    "HourlyUsage",
    "Ignored",
    "IssuedKey",
    "KafkaEventLog",
    "KafkaLogReader",
    "KafkaSettings",
    "Key",
    "KeyCreated",
    "KeyEvent",
    "KeyRefingerprinted",
    "KeyRevoked",
    "KeyRotated",
    "KeySettings",
    "KeyUsed",
    "Lineage",
    "LogIdentity",
    "LogReader",
    "LogUnavailable",
    "MemoryLog",
    "Outcome",
    "Parked",
    "Position",
    "PublishedUsage",
    "Record",
    "Refingerprinting",
    "RevisionsPart",
    "Revocation",
    "Rotation",
    "SettingsError",
    "Statement",
    "StatementClosed",
    "StatementLine",
    "StatementRevisions",
    "Topic",
    "TopicMismatch",
    "Topics",
    "Total",
    "Unreadable",
    "UnreadableRecord",
    "Usage",
    "UsageEmitter",
    "UsageNotDelivered",
    "UsagePublished",
    "WindowCount",
    "WrongLog",
    "apply",
    "apply_topics",
    "check_log",
    "compare_topics",
    "decode",
    "decode_total",
    "encode",
    "fold",
    "read_event",
]
