"""What makes two records at the same place different."""

from __future__ import annotations

import pytest

from events.log import LOG_APPEND_TIME, PlainRecord
from events.log_marks import mark_of

PLACE = ("keys.usage", 3, 17, 1_700_000_000_000)


def record(key: bytes | None, value: bytes | None) -> PlainRecord:
    return PlainRecord(*PLACE, key, value, (), LOG_APPEND_TIME)


def test_a_mark_names_the_place_and_the_time() -> None:
    assert mark_of(record(b"key", b"value"))[:4] == PLACE


def test_the_same_record_has_the_same_mark() -> None:
    assert mark_of(record(b"key", b"value")) == mark_of(record(b"key", b"value"))


@pytest.mark.parametrize(
    "other",
    [record(b"key", b"other"), record(b"kex", b"value"), record(b"keyv", b"alue"), record(b"key", None)],
)
def test_another_record_has_another_mark(other: PlainRecord) -> None:
    assert mark_of(other) != mark_of(record(b"key", b"value"))
