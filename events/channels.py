"""Every topic as outsiders see it: what is in it, and what they may do there. For the AsyncAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from events.keys import KEY_EVENTS


@dataclass(frozen=True, slots=True)
class Channel:
    """A property of `Topics`, what outsiders may do there, and a program of `examples/` that does it."""

    topic: str
    summary: str
    messages: tuple[str, ...]
    operations: Mapping[str, str] = field(default_factory=dict)
    example: str | None = None


CHANNELS = (
    Channel(
        "lifecycle",
        "The event store of keys. Read it from offset 0 and fold each lineage in order: `sequence` rises by "
        "one; the first record of a sequence counts, later ones of the same sequence are ignored.",
        tuple(event.__name__ for event in KEY_EVENTS),
        {"auditLifecycle": "receive"},
    ),
    Channel(
        "lifecycle_dead_letters",
        "Records of keys.lifecycle that somebody has to look at.",
        ("DeadLetter", "DeadLetterNote"),
        {"reviewLifecycleDeadLetters": "receive"},
    ),
    Channel(
        "peppers",
        "Every pepper that a node of the api was ever started with. Keys under another one are refused, so "
        "whoever may write here decides which keys bcrypt may verify. Between nodes of the api.",
        ("PepperConfigured",),
    ),
    Channel(
        "usage",
        "The event store of use. Services that serve requests for keys emit here; what is repeated under the "
        "same key_id and id within 35 days counts once, and has to state the same. Partition with murmur2, "
        "as Kafka's Java client does. Transactions are honoured: what is aborted never counts, and while one "
        "is open its partitions wait for all emitters, so keep them to seconds and set "
        "transaction.timeout.ms to a minute at most.",
        ("KeyUsed",),
        {"emitUsage": "send", "auditUsage": "receive"},
        "emit_usage.py",
    ),
    Channel(
        "usage_dead_letters",
        "Records of keys.usage that were not counted.",
        ("DeadLetter", "DeadLetterNote"),
        {"reviewUsageDeadLetters": "receive"},
    ),
    Channel(
        "rate_counters",
        "What each node has counted for a lineage in a clock hour: absolute, the highest of a node is right. "
        "Between the platform's own processes.",
        ("WindowCount",),
    ),
    Channel(
        "hourly_usage",
        "Absolute totals of each key and hour. Records may come again, late or out of turn: keep the highest "
        "revision of each (key_id, hour), and the sums are exact, also after the platform was rebuilt. They "
        "may shrink from one revision to the next.",
        ("HourlyUsage",),
        {"followHourlyUsage": "receive"},
        "hourly_totals.py",
    ),
    Channel(
        "usage_progress",
        "Up to when uses are in usage.hourly: every use that was appended to keys.usage before "
        "`complete_until` is. The highest one counts; ignore records without a value, which only ask "
        "the broker for the time.",
        ("UsagePublished",),
        {"followUsageProgress": "receive"},
    ),
    Channel(
        "statements",
        "Closed months. The first StatementClosed of a (lineage_id, month) is the statement; ignore later "
        "ones. Its amounts and lines are always whole. Where its `revisions` are more than a record takes, "
        "it has `parts` and `digest`; StatementRevisions of that digest, appended before it, have the rest.",
        ("StatementClosed", "StatementRevisions"),
        {"followStatements": "receive"},
    ),
)
