"""A dead letter is the original with its coordinates."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from events.dead_letters import LARGEST_VALUE_BYTES, DeadLetter, append_dead_letters
from events.errors import LogUnavailable
from events.log import Position
from tests.builders import StoredRecord

pytestmark = pytest.mark.anyio

RECORD = StoredRecord(topic="keys.lifecycle", partition=7, offset=42, key=b"\xff", value=b"{")


class RecordingLog:
    def __init__(self) -> None:
        self.appended: list[tuple[object, ...]] = []

    async def append(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]] = ()
    ) -> Position:
        self.appended.append((topic, key, value, dict(headers)))
        return Position(topic, 0, 0)


async def test_it_is_the_original_bytes_with_their_coordinates() -> None:
    log = RecordingLog()
    await append_dead_letters(log, "dlq", [DeadLetter(RECORD, "unreadable", "json_invalid")])
    coordinates = {
        "topic": b"keys.lifecycle",
        "partition": b"7",
        "offset": b"42",
        "error": b"json_invalid",
        "time": b"2026-01-15T10:30:00.000Z",
    }
    assert log.appended == [("dlq", b"\xff", b"{", coordinates)]


@pytest.mark.parametrize(
    ("timestamp", "time"),
    [(-1, b"1970-01-01T00:00:00.000Z"), (2**63 - 1, b"9999-12-31T23:59:59.999Z")],
)
async def test_a_record_with_an_absurd_timestamp_has_one_too(timestamp: int, time: bytes) -> None:
    letter = DeadLetter(StoredRecord(timestamp=timestamp), "unreadable", "no value")
    assert dict(letter.headers)["time"] == time


async def test_a_value_that_would_not_fit_with_the_headers_is_left_to_the_original_topic() -> None:
    fits = b"x" * LARGEST_VALUE_BYTES
    assert DeadLetter(StoredRecord(value=fits), "unreadable", "").value == fits
    assert DeadLetter(StoredRecord(value=fits + b"x"), "unreadable", "").value is None


async def test_a_log_that_does_not_answer_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    class SilentLog(RecordingLog):
        async def append(self, *_: object, **__: object) -> Position:
            await asyncio.Event().wait()
            raise AssertionError

    monkeypatch.setattr("events.dead_letters.APPEND_TIMEOUT_SECONDS", 0.01)
    with pytest.raises(LogUnavailable, match="dlq took no record"):
        await append_dead_letters(SilentLog(), "dlq", [DeadLetter(RECORD, "unreadable", "")])
