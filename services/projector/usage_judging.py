"""Does a record of `keys.usage` count? The record alone says so, so a rebuild counts the same."""

from __future__ import annotations

from datetime import datetime

from events.codec import decode
from events.dead_letters import DeadLetter
from events.errors import UnreadableRecord
from events.log import Record
from events.usage import KeyUsed

LARGEST_VALUE_BYTES = 16 * 1024
DAY_MS = 24 * 3_600_000
#: How long before its append a use may have happened, and how long after: clocks differ, queues wait.
OLDEST_MS = 35 * DAY_MS
NEWEST_MS = 3_600_000


def judge(record: Record) -> KeyUsed | DeadLetter:
    """The use that the record states, or what is wrong with it. Whether its key is known is asked later."""
    if record.value is not None and len(record.value) > LARGEST_VALUE_BYTES:
        return DeadLetter(record, "oversized", f"oversized: {len(record.value)} bytes")
    try:
        event = decode(record.value)
    except UnreadableRecord as error:
        return DeadLetter(record, "unreadable", f"unreadable record: {error}")
    if not isinstance(event, KeyUsed):
        return DeadLetter(record, "unreadable", f"unreadable record: {event.type} is no use")
    late_ms = record.timestamp - _milliseconds(event.time)
    if late_ms > OLDEST_MS:
        return DeadLetter(record, "too old", f"too old: appended {late_ms // DAY_MS} days after its time")
    if -late_ms > NEWEST_MS:
        return DeadLetter(
            record, "in the future", f"in the future: appended {-late_ms // 60_000} minutes before its time"
        )
    return event


def unknown_key(record: Record, event: KeyUsed) -> DeadLetter:
    """A use of a key that nobody has created, as far as the log goes."""
    return DeadLetter(record, "unknown key", f"unknown key: nobody has created {event.data.key_id}")


def _milliseconds(time: datetime) -> int:
    return int(time.timestamp() * 1000)
