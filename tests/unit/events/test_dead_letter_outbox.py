"""A dead letter is sent once, however often its batch is tried; a refused one goes without its record."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from events.dead_letter_outbox import DeadLetterOutbox
from events.dead_letters import DeadLetter
from events.errors import LogUnavailable, RecordRefused
from events.log import Position
from tests.builders import StoredRecord

pytestmark = pytest.mark.anyio

LETTERS = [
    DeadLetter(StoredRecord(partition=3, offset=offset, value=b"{"), "unreadable", "") for offset in range(5)
]


class SlowLog:
    """Acknowledges what it is asked to, when it is asked to."""

    def __init__(self) -> None:
        self.appended: list[bytes | None] = []
        self.answering = asyncio.Event()
        self.errors: list[Exception] = []

    async def append(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]] = ()
    ) -> Position:
        if self.errors:
            raise self.errors.pop()
        self.appended.append(value)
        await self.answering.wait()
        return Position(topic, 0, 0)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("events.dead_letter_outbox.PATIENCE_SECONDS", 0.05)


async def test_what_is_under_way_is_waited_for_and_not_sent_again() -> None:
    log = SlowLog()
    outbox = DeadLetterOutbox(log, "dlq")
    for _ in range(3):
        with pytest.raises(LogUnavailable, match="dlq took 0 of 5 dead letters"):
            await outbox.append(3, LETTERS)
    log.answering.set()
    await outbox.append(3, LETTERS)
    await outbox.append(3, LETTERS)
    assert log.appended == [b"{"] * 5


async def test_what_the_log_had_no_answer_for_is_sent_again_and_nothing_else() -> None:
    log = SlowLog()
    log.answering.set()
    log.errors = [LogUnavailable("away")]
    outbox = DeadLetterOutbox(log, "dlq")
    with pytest.raises(LogUnavailable, match="away"):
        await outbox.append(3, LETTERS)
    await outbox.append(3, LETTERS)
    assert log.appended == [b"{"] * 5


async def test_one_that_is_refused_for_its_size_is_sent_without_its_record() -> None:
    log = SlowLog()
    log.answering.set()
    log.errors = [RecordRefused("too large")]
    await DeadLetterOutbox(log, "dlq").append(3, LETTERS[:1])
    assert log.appended == [None]


async def test_letters_of_a_committed_batch_are_forgotten() -> None:
    log = SlowLog()
    log.answering.set()
    outbox = DeadLetterOutbox(log, "dlq")
    await outbox.append(3, LETTERS)
    outbox.committed(3, LETTERS[:4])
    # As after the schema was dropped: the batch comes once more.
    await outbox.append(3, LETTERS)
    assert len(log.appended) == 5 + 4
