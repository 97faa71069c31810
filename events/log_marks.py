"""Marks: what stood at some offsets of the log when it was read, to tell later whether it still stands there.

A log that has lost its tail and has grown again holds other records at the same offsets. Its offsets alone
cannot tell; the time at which the broker appended a record, and the record's content, can.
"""

from __future__ import annotations

import zlib

from events.log import Mark, Record


def mark_of(record: Record) -> Mark:
    """The mark of a record."""
    digest = digest_of(record.key, record.value)
    return Mark(record.topic, record.partition, record.offset, record.timestamp, digest)


def digest_of(key: bytes | None, value: bytes | None) -> int:
    """CRC-32 of a record's content: it is against accidents, not against forgers."""
    key = key or b""
    return zlib.crc32(value or b"", zlib.crc32(b"%d:%b" % (len(key), key)))
