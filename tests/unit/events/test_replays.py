"""What a replay says it is again, and whether two records have the same content."""

from __future__ import annotations

import dataclasses

import pytest

from events.log import Position
from events.replays import (
    REPLAY_HEADER,
    content_digest,
    parse_place,
    replay_headers,
    replayed_place,
)
from tests.builders import StoredRecord

ORIGINAL = StoredRecord("keys.usage", 3, 7, key=b"k", value=b"v", headers=(("ce_id", b"1"), ("empty", b"")))
REPLAY = dataclasses.replace(ORIGINAL, offset=9, headers=replay_headers(ORIGINAL))


def test_a_replay_has_the_place_and_the_content_of_its_original() -> None:
    assert replayed_place(REPLAY) == Position("keys.usage", 3, 7)
    assert content_digest(REPLAY) == content_digest(ORIGINAL)
    assert replayed_place(ORIGINAL) is None


@pytest.mark.parametrize(
    "changes",
    [{"partition": 4}, {"topic": "keys.lifecycle"}, {"offset": 7}, {"offset": 6}],
    ids=["partition", "topic", "itself", "a later one"],
)
def test_only_an_earlier_record_of_the_same_partition_can_be_replayed(changes: dict[str, object]) -> None:
    assert replayed_place(dataclasses.replace(REPLAY, **changes)) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "claim", [b"", b"\xff", b"keys.usage/3", b"keys.usage/x@7", b"keys.usage/3@" + b"9" * 99]
)
def test_a_claim_that_is_no_place_claims_nothing(claim: bytes) -> None:
    assert replayed_place(dataclasses.replace(ORIGINAL, offset=9, headers=((REPLAY_HEADER, claim),))) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"key": None},
        {"key": b""},
        {"value": b"w"},
        {"key": b"kv", "value": b""},
        {"headers": ()},
        {"headers": (("ce_id", b"1e"), ("mpty", b""))},
    ],
)
def test_another_content_has_another_digest(changes: dict[str, object]) -> None:
    assert content_digest(dataclasses.replace(ORIGINAL, **changes)) != content_digest(ORIGINAL)  # type: ignore[arg-type]


def test_a_place_reads_as_it_is_written() -> None:
    assert parse_place(str(Position("test-1.keys.usage", 11, 4711))) == Position(
        "test-1.keys.usage", 11, 4711
    )
    assert parse_place("keys.usage 3 7") is None
