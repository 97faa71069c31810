"""Where a record goes that somebody has to look at: whole where that fits, with its coordinates."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from events.log import Position, Record, appended_at

#: Key, value and headers together: a topic takes a megabyte, and the batch around a record needs some of it.
LARGEST_LETTER_BYTES = 900_000
LARGEST_ERROR_CHARACTERS = 2000
#: What a header costs beside its name and value: two lengths.
HEADER_BYTES = 10

Header = tuple[str, bytes]


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
    def place(self) -> Position:
        """Where the record stands, which is the letter's identity."""
        return Position(self.record.topic, self.record.partition, self.record.offset)

    def contents(self, largest_bytes: int = LARGEST_LETTER_BYTES) -> LetterContents:
        """What is appended: as much of the record as fits, the key first, then its headers, then its value.

        A header `cut.key`, `cut.headers` or `cut.value` names what is left out, with its size and SHA-256.
        The original topic still has it all.
        """
        headers = self._own_headers()
        room = largest_bytes - _size(headers)
        kept: dict[str, bytes | None] = {}
        originals = tuple((f"original.{name}", value or b"") for name, value in self.record.headers)
        for part, size, whole in (
            ("key", len(self.record.key or b""), self.record.key or b""),
            ("headers", _size(originals), b"".join(name.encode() + value for name, value in originals)),
            ("value", len(self.record.value or b""), self.record.value or b""),
        ):
            if size <= room:
                room -= size
                kept[part] = whole
            else:
                headers += ((f"cut.{part}", _digest(size, whole)),)
        key = self.record.key if "key" in kept else None
        value = self.record.value if "value" in kept else None
        return LetterContents(
            # No record can be sent that has neither.
            b"" if key is None and value is None else key,
            value,
            (*headers, *originals) if "headers" in kept else headers,
        )

    def _own_headers(self) -> tuple[Header, ...]:
        """Coordinates of the record, what is wrong with it, and the time that its topic keeps for it."""
        record = self.record
        time = appended_at(record.timestamp)
        return (
            ("topic", record.topic.encode()),
            ("partition", str(record.partition).encode()),
            ("offset", str(record.offset).encode()),
            ("reason", self.reason.encode()),
            ("error", self.error[:LARGEST_ERROR_CHARACTERS].encode()),
            ("time", time.isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()),
        )


@dataclass(frozen=True, slots=True)
class LetterContents:
    """A dead letter as it is appended."""

    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]


def _size(headers: Sequence[Header]) -> int:
    return sum(len(name.encode()) + len(value) + HEADER_BYTES for name, value in headers)


def _digest(size: int, content: bytes) -> bytes:
    return f"{size} bytes, sha256 {hashlib.sha256(content).hexdigest()}".encode()
