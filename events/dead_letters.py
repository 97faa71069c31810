"""Where a record goes that somebody has to look at: whole, with its coordinates."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from events.errors import LogUnavailable
from events.log import EventLog, Record

#: A record may be as large as a topic takes; with headers on top it would not fit any more.
LARGEST_VALUE_BYTES = 900_000
APPEND_TIMEOUT_SECONDS = 5.0
#: Thousands that wait for room in the producer take it ten times as long as a few hundred.
APPENDED_AT_ONCE = 200
#: The end of the year 9999: a producer may have stamped the record with anything.
LATEST_MS = 253_402_300_799_999

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record and what is wrong with it.

    `reason` is the class of the error, one of few, for counting; `error` says more and never quotes the
    value. May be appended more than once: its identity is (topic, partition, offset) of the record.
    """

    record: Record
    reason: str
    error: str

    @property
    def value(self) -> bytes | None:
        """The original value; left out where it is too large. The original topic still has it then."""
        value = self.record.value
        return value if value is None or len(value) <= LARGEST_VALUE_BYTES else None

    @property
    def headers(self) -> tuple[tuple[str, bytes], ...]:
        """Coordinates of the record, what is wrong with it, and the time that its topic keeps for it."""
        record = self.record
        time = _EPOCH + timedelta(milliseconds=min(max(record.timestamp, 0), LATEST_MS))
        return (
            ("topic", record.topic.encode()),
            ("partition", str(record.partition).encode()),
            ("offset", str(record.offset).encode()),
            ("error", self.error.encode()),
            ("time", time.isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()),
        )


async def append_dead_letters(log: EventLog, topic: str, letters: Sequence[DeadLetter]) -> None:
    """Append them all, and return once the log has them. Raises `LogUnavailable` after 5 s."""
    try:
        async with asyncio.timeout(APPEND_TIMEOUT_SECONDS):
            for first in range(0, len(letters), APPENDED_AT_ONCE):
                some = letters[first : first + APPENDED_AT_ONCE]
                await asyncio.gather(
                    *(log.append(topic, letter.record.key, letter.value, letter.headers) for letter in some)
                )
    except TimeoutError:
        raise LogUnavailable(f"{topic} took no record within {APPEND_TIMEOUT_SECONDS:.0f} s") from None
