"""Bounds what aiokafka unpacks: a batch of 1 MB may unpack to gigabytes, in the memory of whoever reads it.

This is the one place that reaches into the private parts of aiokafka's record formats and of its fetcher. The
pinned version is named in `tests/unit/events/test_kafka_decompression.py`.

A batch that would be too large is not unpacked, and one whose records are no records (a header's name that is
no UTF-8) is read as far as it can be. In the place of the rest stands a record without a value, with a header
that says why, so that whoever reads it treats it like any record that cannot be read. It has the last offset
of the batch, so that a reader that begins in the middle of the batch meets it too.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cramjam
from aiokafka import codec  # type: ignore[import-untyped]
from aiokafka.consumer import fetcher  # type: ignore[import-untyped]
from aiokafka.record import default_records, legacy_records  # type: ignore[import-untyped]
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


#: Beside the coordinates of what could not be decoded; its dead letter has it too.
UNDECODABLE_HEADER = "hokusai-undecodable"


class OversizedBatch(Exception):
    """The batch would unpack to more than the limit."""


def bound_unpacking() -> None:
    """Make every consumer of this process unpack within bounds. May be called again."""
    for module in _modules_with_decoders():
        for name, decoder in _DECODERS.items():
            if hasattr(module, name):
                setattr(module, name, decoder)
    fetcher.PartitionRecords = _BoundedRecords
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

    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        # The formats before Kafka 0.11 have no base offset.
        following = getattr(self._batch, "base_offset", self._batch.next_offset - 1)
        try:
            for record in self._batch:  # this unpacks all of it
                following = record.offset + 1
                yield record
        except OversizedBatch:
            why = f"more than {LARGEST_UNPACKED_BYTES} bytes in offsets {following} to {self._last}"
            yield self._substitute(OVERSIZED_HEADER, why)
        except Exception as error:
            # The checksum was right, so this is what its producer has sent: it is no better the next time.
            why = f"offsets {following} to {self._last}: {type(error).__name__}"
            yield self._substitute(UNDECODABLE_HEADER, why)

    @property
    def _last(self) -> int:
        last: int = self._batch.next_offset - 1
        return last

    def _substitute(self, header: str, why: str) -> _Substitute:
        timestamp, type_ = (
            getattr(self._batch, "max_timestamp", -1),
            getattr(self._batch, "timestamp_type", 0),
        )
        return _Substitute(self._last, timestamp, type_, ((header, why.encode()),))


class _BoundedBatches:
    """Batches as the broker has sent them."""

    def __init__(self, records: Any) -> None:
        self._records = records

    def has_next(self) -> bool:
        return bool(self._records.has_next())

    def next_batch(self) -> _BoundedBatch:
        return _BoundedBatch(self._records.next_batch())


class _BoundedRecords(fetcher.PartitionRecords):  # type: ignore[misc]
    """The records of a partition; one that is too large has lost its value."""

    def __init__(self, tp: Any, records: Any, *rest: Any) -> None:
        super().__init__(tp, _BoundedBatches(records), *rest)

    def _consumer_record(self, tp: Any, record: Any) -> ConsumerRecord:
        found = super()._consumer_record(tp, record)
        size = _size(found)
        if size <= LARGEST_RECORD_BYTES:
            return found
        key = found.key if len(found.key or b"") <= LARGEST_KEY_BYTES else None
        return ConsumerRecord(
            found.topic,
            found.partition,
            found.offset,
            found.timestamp,
            found.timestamp_type,
            key,
            None,
            found.checksum,
            -1 if key is None else len(key),
            -1,
            ((OVERSIZED_HEADER, f"{size} bytes".encode()),),
        )


class _BoundedFetch(fetcher.FetchResult):  # type: ignore[misc]
    """What was fetched of a partition. What one reading leaves over is fetched again, not kept unpacked."""

    _partition_records: Any

    def getall(self, max_records: int | None = None) -> list[ConsumerRecord]:
        if not self.check_assignment(self._topic_partition) or not self.has_more():
            return []
        taken: list[ConsumerRecord] = []
        room = LARGEST_READ_BYTES
        for record in self._partition_records:
            taken.append(record)
            room -= record.serialized_value_size
            if room < 0 or (max_records is not None and len(taken) >= max_records):
                self._update_position()
                if room < 0:
                    self._partition_records = None
                return taken
        self._update_position()
        self._partition_records = None
        return taken


def _size(record: ConsumerRecord) -> int:
    size: int = record.serialized_key_size + record.serialized_value_size
    if record.headers:
        size += sum(len(name) + len(value or b"") for name, value in record.headers)
    return size
