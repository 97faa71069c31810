"""Bounds what aiokafka unpacks: a batch of 1 MB may unpack to gigabytes, in the memory of whoever reads it.

This is the one place that reaches into the private parts of aiokafka's record formats and of its fetcher. The
pinned version is named in `tests/unit/events/test_kafka_decompression.py`.

A batch that would be too large is not unpacked. A record stands in its place that has no value, and a header
that says why, so that whoever reads it treats it like any record that cannot be read. It has the last offset
of the batch, so that a reader that begins in the middle of the batch meets it too.

Names of headers that are not UTF-8 are read as well: aiokafka raises at them, again and again.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import cramjam
from aiokafka import codec  # type: ignore[import-untyped]
from aiokafka.consumer import fetcher  # type: ignore[import-untyped]
from aiokafka.record import default_records, legacy_records, memory_records  # type: ignore[import-untyped]
from aiokafka.structs import ConsumerRecord  # type: ignore[import-untyped]

from events.log import OVERSIZED_HEADER
from events.topics import LARGEST_BATCH_BYTES

#: Of a batch of at most 1 MB. JSON with ids in it, which hardly compress, packs to a thirtieth at best.
LARGEST_UNPACKED_BYTES = 64 * 1024 * 1024
#: A record that is larger once unpacked than any that travels unpacked.
LARGEST_RECORD_BYTES = LARGEST_BATCH_BYTES
#: Taken of one partition at once: more than 20,000 usual uses.
LARGEST_READ_BYTES = 16 * 1024 * 1024
#: Most batches unpack to less than this many times their size, so that one attempt is enough.
USUAL_RATIO = 16
#: A key that is kept beside a value that is not: it may name a lineage.
LARGEST_KEY_BYTES = 1024
#: A batch begins with its offset and the length of what follows.
BATCH_OVERHEAD = 12


class OversizedBatch(Exception):
    """The batch would unpack to more than the limit."""


def bound_unpacking() -> None:
    """Make every consumer of this process unpack within bounds. May be called again."""
    for module in _modules_with_decoders():
        for name, decoder in _DECODERS.items():
            if hasattr(module, name):
                setattr(module, name, decoder)
    fetcher.MemoryRecords = _BoundedBatches
    fetcher.FetchResult = _BoundedFetch


def _modules_with_decoders() -> Iterator[Any]:
    """The formats in Python, and those in C where they are used: each has imported the decoders by name."""
    yield from (codec, default_records, legacy_records)
    for format_ in (default_records.DefaultRecordBatch, legacy_records.LegacyRecordBatch):
        yield sys.modules[format_.__module__]


def _gzip(packed: Any) -> bytes:
    unpacked, rest = [], bytes(packed)
    room = LARGEST_UNPACKED_BYTES
    while rest:  # a gzip file may have several members
        member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        part = member.decompress(rest, room + 1)
        room -= len(part)
        if room < 0:
            raise OversizedBatch
        if not member.eof:
            raise EOFError("a gzip member ends early")
        unpacked.append(part)
        rest = member.unused_data
    return b"".join(unpacked)


def _snappy(packed: Any) -> bytes:
    data = memoryview(packed)
    if not codec._detect_xerial_stream(data):
        return _snappy_block(data, LARGEST_UNPACKED_BYTES)
    unpacked, room, at = [], LARGEST_UNPACKED_BYTES, 16
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        unpacked.append(_snappy_block(data[at + 4 : at + 4 + size], room))
        room -= len(unpacked[-1])
        at += 4 + size
    return b"".join(unpacked)


def _snappy_block(block: memoryview, room: int) -> bytes:
    """The block says itself how large it will be; the decoder allocates that much and no more."""
    if cramjam.snappy.decompress_raw_len(block) > room:
        raise OversizedBatch
    return bytes(cramjam.snappy.decompress_raw(block))


def _lz4(packed: Any) -> bytes:
    return _into_bounded(cramjam.lz4.decompress_into, packed)


def _zstd(packed: Any) -> bytes:
    return _into_bounded(cramjam.zstd.decompress_into, packed)


def _into_bounded(decompress_into: Callable[[Any, Any], int], packed: Any) -> bytes:
    usual = min(max(len(packed) * USUAL_RATIO, 64 * 1024), LARGEST_UNPACKED_BYTES)
    for room in (usual, LARGEST_UNPACKED_BYTES):
        unpacked = bytearray(room)
        try:
            size = decompress_into(packed, unpacked)
        except cramjam.DecompressionError as error:
            if "write whole buffer" not in str(error):
                raise
        else:
            return bytes(memoryview(unpacked)[:size])
    raise OversizedBatch


_DECODERS = {"gzip_decode": _gzip, "snappy_decode": _snappy, "lz4_decode": _lz4, "zstd_decode": _zstd}


@dataclass(frozen=True, slots=True)
class _Substitute:
    """A record in the place of a batch."""

    offset: int
    timestamp: int
    timestamp_type: int
    headers: tuple[tuple[str, bytes], ...]
    key: bytes | None = None
    value: bytes | None = None
    checksum: None = None


class _BoundedBatch:
    """A batch that has a substitute in it where it is too large."""

    def __init__(self, batch: Any, packed: memoryview) -> None:
        self._batch = batch
        self._packed = packed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        batch = self._batch
        try:
            records: Iterator[Any] = iter(batch)  # this unpacks all of it
        except OversizedBatch:
            last = batch.next_offset - 1
            first = getattr(batch, "base_offset", last)  # the formats before Kafka 0.11 have none
            why = f"more than {LARGEST_UNPACKED_BYTES} bytes in offsets {first} to {last}"
            timestamp, type_ = getattr(batch, "max_timestamp", -1), getattr(batch, "timestamp_type", 0)
            return iter([_Substitute(last, timestamp, type_, _says(why))])
        return self._each(records)

    def _each(self, records: Iterator[Any]) -> Iterator[Any]:
        count = 0
        try:
            for record in records:
                yield record
                count += 1
        except UnicodeDecodeError:
            again = default_records._DefaultRecordBatchPy(self._packed)
            again._maybe_uncompress()
            again._buffer = _ReadableNames(again._buffer)
            yield from islice(again, count, None)


class _ReadableNames(bytearray):
    """Bytes of records; what is decoded of them are names of headers."""

    def __getitem__(self, at: Any) -> Any:
        found: Any = super().__getitem__(at)
        return _ReadableNames(found) if isinstance(at, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        return super().decode(encoding, errors)


class _BoundedBatches:
    """Batches as the broker has sent them, in one piece."""

    def __init__(self, data: bytes) -> None:
        self._batches = memory_records.MemoryRecords(data)
        self._rest = memoryview(data)
        self.has_next = self._batches.has_next
        self.size_in_bytes = self._batches.size_in_bytes

    def next_batch(self) -> _BoundedBatch:
        end = BATCH_OVERHEAD + int.from_bytes(self._rest[8:BATCH_OVERHEAD], "big")
        packed, self._rest = self._rest[:end], self._rest[end:]
        return _BoundedBatch(self._batches.next_batch(), packed)


class _BoundedFetch(fetcher.FetchResult):  # type: ignore[misc]
    """What was fetched of a partition. What there was no room for is fetched again, not kept unpacked.

    A record that is too large has lost its value. Its key stays where it may name a lineage.
    """

    _partition_records: Any

    def getall(self, max_records: int | None = None) -> list[ConsumerRecord]:
        if not self.check_assignment(self._topic_partition) or not self.has_more():
            return []
        taken: list[ConsumerRecord] = []
        room = LARGEST_READ_BYTES
        for record in self._partition_records:
            size = record.serialized_key_size + record.serialized_value_size
            if record.headers:
                size += sum(len(name) + len(value or b"") for name, value in record.headers)
            taken.append(record if size <= LARGEST_RECORD_BYTES else _without_value(record, size))
            room -= size
            if room < 0 or (max_records is not None and len(taken) >= max_records):
                self._update_position()
                if room < 0:
                    self._partition_records = None
                return taken
        self._update_position()
        self._partition_records = None
        return taken


def _without_value(record: ConsumerRecord, size: int) -> ConsumerRecord:
    key = record.key if len(record.key or b"") <= LARGEST_KEY_BYTES else None
    return replace(record, key=key, value=None, headers=_says(f"{size} bytes"))


def _says(why: str) -> tuple[tuple[str, bytes], ...]:
    return ((OVERSIZED_HEADER, why.encode()),)
