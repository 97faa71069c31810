"""The log as the domain sees it: append a record durably, read every record in order.

`kafka_log` has these ports over Kafka, `memory_log` in memory; both pass the same contract tests.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

#: A record's `timestamp_type` where the broker dated it; 0 where its writer did.
LOG_APPEND_TIME = 1
#: The end of the year 9999: a producer may have stamped the record with anything.
LATEST_MS = 253_402_300_799_999

#: What a reader could not hold has no value, and this header. It says how large it would have been.
OVERSIZED_HEADER = "hokusai-oversized"
#: Whoever writes the header into a record of theirs cannot make readers repeat anything else.
_OVERSIZED = re.compile(rb"(more than )?\d{1,12} bytes( in offsets \d{1,19} to \d{1,19})?")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Record(Protocol):
    """A record as it was read. `timestamp` is milliseconds since 1970, UTC, as the topic keeps it."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def timestamp_type(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


@dataclass(frozen=True, slots=True)
class PlainRecord:
    """A `Record` that no client of Kafka has made."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    timestamp_type: int = LOG_APPEND_TIME


def appended_at(timestamp: int) -> datetime:
    """A record's timestamp as a time, the nearest one from 1970 to 9999."""
    return _EPOCH + timedelta(milliseconds=min(max(timestamp, 0), LATEST_MS))


def oversized(record: Record) -> str | None:
    """Why the reader has left out what stands here: it was too large. None where nothing was left out."""
    if record.value is not None or not record.headers:
        return None
    said = [value for name, value in record.headers if name == OVERSIZED_HEADER and value is not None]
    return said[0].decode() if said and _OVERSIZED.fullmatch(said[0]) else None


@dataclass(frozen=True, slots=True)
class Position:
    """Where a record stands. `appended_at_ms`: when its broker took it, where the topic keeps that."""

    topic: str
    partition: int
    offset: int
    appended_at_ms: int | None = field(default=None, compare=False)

    def __str__(self) -> str:
        """As logs and commands write it: `keys.usage/3@4711`."""
        return f"{self.topic}/{self.partition}@{self.offset}"


class Mark(NamedTuple):
    """A record that was read: where it stood, when it was appended (ms since 1970), and what it was."""

    topic: str
    partition: int
    offset: int
    appended_ms: int
    digest: int


KeyAndValue = tuple[bytes | None, bytes | None]


class EventLog(Protocol):
    """Appends records."""

    async def append(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Position:
        """Append one record and return where it stands, once every in-sync replica has it.

        The partition follows from the key (murmur2). Raises `LogUnavailable` when no answer came within
        the log's own deadline; the record may still take effect then. Raises `RecordRefused` where
        the log takes no such record, however often it is sent. Cancelling the call does not take back
        what was handed over.
        """
        ...


class BulkLog(EventLog, Protocol):
    """Appends many records at once, at a fraction of the time of as many single appends."""

    async def append_all(self, topic: str, records: Sequence[KeyAndValue]) -> Sequence[Position]:
        """Append the records and return where each stands, once every in-sync replica has all of them.

        Records of one key keep their order. Raises `LogUnavailable` when not all were acknowledged within
        the log's own deadline; any of them may have taken effect, or take effect still.
        """
        ...


class LogReader(Protocol):
    """Reads all partitions of one topic, without a group, from offsets that the reader chooses."""

    async def begin(self, positions: Mapping[int, int]) -> None:
        """Read each partition from its offset; partitions that are not named from offset 0.

        Raises `WrongLog` when an offset lies outside what the log holds: never a silent reset. Raises
        `LogUnavailable`.
        """
        ...

    async def read(self, max_records: int = 5000, timeout_seconds: float = 1.0) -> Sequence[Record]:
        """The next records, in order within each partition; empty when none came in time.

        Returns empty while the log is away and goes on by itself afterwards. Raises `WrongLog` when
        the log has lost what comes next, or what was read before, `LogUnavailable` when it answers with
        something else than records: the next call tries again. Nothing is ever skipped.
        """
        ...

    async def end_offsets(self, timeout_seconds: float = 5.0) -> Mapping[int, int]:
        """The offset after the last record, for every partition. Raises `LogUnavailable`."""
        ...

    async def offsets_at(self, milliseconds: int) -> Mapping[int, int]:
        """The offset of the first record appended at or after that time (ms since 1970, UTC), for every
        partition; the end where there is none. Raises `LogUnavailable`.
        """
        ...

    async def lost(self, marks: Collection[Mark]) -> Sequence[Mark]:
        """Those whose offset holds another record by now, or lies beyond the end. Raises `LogUnavailable`.

        Says nothing about what lies before the first record, or may have been compacted away.
        """
        ...

    def positions(self) -> Mapping[int, int]:
        """The next offset to read, for every partition: what lies before it was returned by `read`."""
        ...
