"""What consumers unpack is bounded, in every codec and both of aiokafka's implementations."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from typing import Any

import cramjam
import pytest
from aiokafka import codec  # type: ignore[import-untyped]
from aiokafka.consumer import fetcher  # type: ignore[import-untyped]
from aiokafka.record import default_records  # type: ignore[import-untyped]
from aiokafka.record.default_records import (  # type: ignore[import-untyped]
    DefaultRecordBatchBuilder,
    _DefaultRecordBatchBuilderPy,
    _DefaultRecordBatchPy,
)
from aiokafka.structs import TopicPartition  # type: ignore[import-untyped]

from events import kafka_decompression
from events.kafka_decompression import (
    LARGEST_KEY_BYTES,
    LARGEST_READ_BYTES,
    LARGEST_RECORD_BYTES,
    LARGEST_UNPACKED_BYTES,
    OversizedBatch,
    bound_unpacking,
)
from events.log import oversized
from tests.raw_headers import RawName

CODECS = {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 1),
    "snappy": lambda data: codec.snappy_encode(data),
    "snappy block": lambda data: codec.snappy_encode(data, xerial_compatible=False),
    "lz4": lambda data: codec.lz4_encode(data),
    "zstd": lambda data: codec.zstd_encode(data),
}
PLACE = TopicPartition("keys.usage", 3)
FEW_BYTES = 5000

every_codec = pytest.mark.parametrize("name", PACK)
every_batch_codec = pytest.mark.parametrize("name", CODECS)


@pytest.fixture(autouse=True)
def bounded() -> None:
    bound_unpacking()


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """A low limit, so that no test unpacks much."""
    monkeypatch.setattr(kafka_decompression, "LARGEST_UNPACKED_BYTES", FEW_BYTES)
    return FEW_BYTES


def test_the_private_parts_are_those_of_this_version() -> None:
    """With another one, compare its `codec`, `record` and `consumer.fetcher` with what is replaced."""
    assert version("aiokafka") == "0.14.0"


def test_the_formats_in_c_use_the_bounded_decoders() -> None:
    in_c = sys.modules[default_records.DefaultRecordBatch.__module__]
    assert in_c.__name__ == "aiokafka.record._crecords.default_records"
    for module in (codec, default_records, in_c):
        for name in ("gzip_decode", "snappy_decode", "lz4_decode", "zstd_decode"):
            assert getattr(module, name).__module__ == "events.kafka_decompression"


def decoder(name: str) -> Callable[[Any], bytes]:
    decode: Callable[[Any], bytes] = getattr(codec, f"{name.partition(' ')[0]}_decode")
    return decode


@every_codec
@pytest.mark.parametrize("data", [b"x", bytes(range(256)) * 4000, b"0" * 4_000_000], ids=len)
def test_what_is_within_the_limit_is_unpacked(name: str, data: bytes) -> None:
    packed = PACK[name](data)
    assert decoder(name)(packed) == data
    assert decoder(name)(memoryview(packed)) == data


@every_codec
def test_the_limit_itself_is_unpacked_and_a_byte_more_is_not(name: str, few: int) -> None:
    assert len(decoder(name)(PACK[name](bytes(few)))) == few
    with pytest.raises(OversizedBatch):
        decoder(name)(PACK[name](bytes(few + 1)))


@pytest.mark.parametrize("name", ["gzip", "lz4", "zstd"])
def test_many_small_parts_count_together(name: str, few: int) -> None:
    part = PACK[name](bytes(few // 2))
    assert len(decoder(name)(part * 2)) == few
    with pytest.raises(OversizedBatch):
        decoder(name)(part * 3)


@pytest.mark.parametrize("name", ["gzip", "lz4", "zstd"])
def test_what_ends_early_is_an_error_and_not_called_large(name: str) -> None:
    with pytest.raises((EOFError, cramjam.DecompressionError)):
        decoder(name)(PACK[name](bytes(range(256)) * 40)[:-12])


def batch(records: Sequence[tuple[bytes | None, bytes]], codec_id: int, first: int = 0) -> bytes:
    builder = DefaultRecordBatchBuilder(2, codec_id, 0, -1, -1, -1, 1_000_000_000)
    for offset, (key, value) in enumerate(records):
        builder.append(offset, 1_790_000_000_000, key, value, [])
    built = bytearray(builder.build())
    built[0:8] = first.to_bytes(8, "big")  # not covered by the checksum: the broker sets it
    return bytes(built)


def fetched(data: bytes, begin: int = 0) -> Iterator[Any]:
    records: Iterator[Any] = fetcher.PartitionRecords(
        PLACE, fetcher.MemoryRecords(data), [], begin, None, None, True, fetcher.READ_UNCOMMITTED
    )
    return records


def fetch(data: bytes, assignment: _Assignment) -> Any:
    return fetcher.FetchResult(PLACE, assignment=assignment, partition_records=fetched(data), backoff=0)


@every_batch_codec
@pytest.mark.parametrize("begin", [10, 12], ids=["at its begin", "inside"])
def test_a_batch_that_is_too_large_is_one_record_without_a_value(name: str, begin: int, few: int) -> None:
    small = [(b"key", b"value")]
    data = (
        batch(small, 0, 9)
        + batch([(b"key", bytes(few))] * 3, CODECS[name], 10)
        + batch(small, CODECS[name], 13)
    )
    read = [record for record in fetched(data, begin) if record.offset >= begin]
    assert [(record.offset, record.key, record.value) for record in read] == [
        (12, None, None),
        (13, b"key", b"value"),
    ]
    assert read[0].timestamp == 1_790_000_000_000
    assert oversized(read[0]) == f"more than {few} bytes in offsets 10 to 12"
    assert oversized(read[1]) is None


@pytest.mark.parametrize("codec_id", [0, *CODECS.values()])
def test_a_header_whose_name_is_no_utf_8_stops_nobody(codec_id: int) -> None:
    """A producer in C may send one, and the broker takes it."""
    builder = _DefaultRecordBatchBuilderPy(2, codec_id, 0, -1, -1, -1, 1_000_000)
    for offset, headers in enumerate([[], [("name", b"1")], [(RawName(), b"2"), ("other", b"3")], []]):
        builder.append(offset, 1_790_000_000_000, b"key", b"value", headers)
    records = list(fetched(bytes(builder.build()) + batch([(b"key", b"value")], 0, 4)))
    assert [record.offset for record in records] == [0, 1, 2, 3, 4]
    assert {(record.key, record.value) for record in records} == {(b"key", b"value")}
    assert records[1].headers == (("name", b"1"),)
    assert records[2].headers == (("\ufffd\ufffd", b"2"), ("other", b"3"))


def test_the_format_in_python_is_bounded_too(few: int) -> None:
    with pytest.raises(OversizedBatch):
        next(iter(_DefaultRecordBatchPy(batch([(None, bytes(few))], CODECS["zstd"]))))


@every_batch_codec
def test_a_record_that_is_larger_than_any_unpacked_one_has_no_value(name: str) -> None:
    """Its key stays, since it may name a lineage."""
    large, long_key = bytes(LARGEST_RECORD_BYTES), b"k" * (LARGEST_KEY_BYTES + 1)
    records = [(b"key", large), (long_key, large), (b"key", large[:-3]), (None, b"value")]
    read = fetch(batch(records, CODECS[name]), _Assignment()).getall()
    assert [(record.offset, record.key) for record in read] == [
        (0, b"key"),
        (1, None),
        (2, b"key"),
        (3, None),
    ]
    assert [record.value for record in read] == [None, None, large[:-3], b"value"]
    assert oversized(read[0]) == f"{LARGEST_RECORD_BYTES + 3} bytes"


def test_one_reading_takes_so_much_and_the_rest_is_fetched_again() -> None:
    value, assignment = bytes(LARGEST_RECORD_BYTES), _Assignment()
    count = LARGEST_READ_BYTES // len(value) + 1
    data = batch([(None, value)] * (count + 4), CODECS["zstd"])
    some = fetch(data, assignment)
    assert len(some.getall(1000)) == count
    assert assignment.position == count
    assert not some.has_more()


def test_small_records_are_taken_as_many_as_wanted_and_the_rest_is_kept() -> None:
    assignment = _Assignment()
    data = batch([(None, b"value")] * 10, CODECS["zstd"])
    some = fetch(data, assignment)
    assert [record.offset for record in some.getall(4)] == [0, 1, 2, 3]
    assert assignment.position == 4
    assert [record.offset for record in some.getall()] == [4, 5, 6, 7, 8, 9]
    assert assignment.position == 10
    assert not some.has_more()


def test_the_limits_fit_each_other() -> None:
    assert LARGEST_RECORD_BYTES < LARGEST_READ_BYTES < LARGEST_UNPACKED_BYTES


class _Assignment:
    """What a fetch asks of the consumer's assignment: that the partition is ours, and where it is."""

    position = 0
    active, paused = True, False

    def state_value(self, place: Any) -> _Assignment:
        return self

    def consumed_to(self, position: int) -> None:
        self.position = position
