"""A dead letter is the original with its coordinates, as far as a topic takes it."""

from __future__ import annotations

import hashlib

import pytest

from events.dead_letters import LARGEST_LETTER_BYTES, DeadLetter, LetterContents
from tests.builders import StoredRecord

RECORD = StoredRecord(
    topic="keys.lifecycle", partition=7, offset=42, key=b"\xff", value=b"{", headers=(("trace", b"1"),)
)
COORDINATES = {
    "topic": b"keys.lifecycle",
    "partition": b"7",
    "offset": b"42",
    "reason": b"unreadable",
    "error": b"json_invalid",
    "time": b"2026-01-15T10:30:00.000Z",
}


def test_it_is_the_original_bytes_with_their_coordinates() -> None:
    contents = DeadLetter(RECORD, "unreadable", "json_invalid").contents()
    assert (contents.key, contents.value) == (b"\xff", b"{")
    assert dict(contents.headers) == {**COORDINATES, "original.trace": b"1"}


@pytest.mark.parametrize(
    ("timestamp", "time"),
    [(-1, b"1970-01-01T00:00:00.000Z"), (2**63 - 1, b"9999-12-31T23:59:59.999Z")],
)
def test_a_record_with_an_absurd_timestamp_has_one_too(timestamp: int, time: bytes) -> None:
    letter = DeadLetter(StoredRecord(timestamp=timestamp), "unreadable", "no value")
    assert dict(letter.contents().headers)["time"] == time


@pytest.mark.parametrize(
    ("record", "cut"),
    [
        (StoredRecord(key=b"k" * 200_000, value=b"v" * 848_000), {"value"}),
        (StoredRecord(key=b"k", value=b"v" * 1_040_000), {"value"}),
        (StoredRecord(key=b"k" * 1_000_000, value=b"v"), {"key"}),
        (StoredRecord(value=b"v", headers=tuple((f"h{n}", b"") for n in range(60_000))), {"headers"}),
        (StoredRecord(key=b"k", headers=(("h" * 500_000, b""),), value=b"v" * 500_000), {"value"}),
        (StoredRecord(key=b"k" * 950_000, value=b"v" * 950_000, headers=(("h", b"h" * 950_000),)), None),
    ],
)
def test_key_headers_and_value_are_bounded_together_and_what_is_cut_is_named(
    record: StoredRecord, cut: set[str] | None
) -> None:
    contents = DeadLetter(record, "oversized", "x" * 10_000).contents()
    headers = dict(contents.headers)
    cut = {"key", "headers", "value"} if cut is None else cut
    assert {name.removeprefix("cut.") for name in headers if name.startswith("cut.")} == cut
    assert contents.value == (None if "value" in cut else record.value)
    assert contents.key == (
        b"" if "key" in cut and "value" in cut else record.key if "key" not in cut else None
    )
    assert any(name.startswith("original.") for name in headers) == bool(
        record.headers and "headers" not in cut
    )
    assert _size(contents) < LARGEST_LETTER_BYTES + 1000


def test_a_digest_tells_what_was_cut() -> None:
    value = b"v" * 1_000_000
    headers = dict(DeadLetter(StoredRecord(value=value), "oversized", "").contents().headers)
    assert headers["cut.value"] == f"1000000 bytes, sha256 {hashlib.sha256(value).hexdigest()}".encode()


@pytest.mark.parametrize(
    ("key", "value", "sent"),
    [(None, None, b""), (None, b"x" * 900_001, b""), (None, b"x", None), (b"", None, b"")],
)
def test_a_letter_has_a_key_or_a_value(key: bytes | None, value: bytes | None, sent: bytes | None) -> None:
    """The producer refuses a record without both, and what it refuses would be tried again for ever."""
    assert DeadLetter(StoredRecord(key=key, value=value), "unreadable", "").contents().key == sent


def _size(contents: LetterContents) -> int:
    headers = sum(len(name) + len(value) for name, value in contents.headers)
    return len(contents.key or b"") + len(contents.value or b"") + headers
