"""Records of keys.usage, as a reader of the log sees them."""

from __future__ import annotations

from datetime import datetime

from events.codec import encode
from events.usage import KeyUsed
from tests.builders import StoredRecord


def usage_record(
    event: KeyUsed, appended_at: datetime | None = None, *, offset: int = 0, partition: int = 0
) -> StoredRecord:
    """The record that the event travels in, appended when it happened unless told otherwise."""
    return StoredRecord(
        topic="keys.usage",
        partition=partition,
        offset=offset,
        timestamp=int((appended_at or event.time).timestamp() * 1000),
        key=event.data.key_id.encode(),
        value=encode(event),
    )
