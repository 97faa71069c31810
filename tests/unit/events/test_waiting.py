"""Waiting for something that is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import count

import pytest

from events import waiting
from events.errors import LogUnavailable, WrongLog
from events.waiting import wait_for

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(waiting, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(waiting, "LONGEST_PAUSE_SECONDS", 0.005)
    caplog.set_level(logging.INFO)


async def test_what_works_at_once_is_returned_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    assert await wait_for("Kafka", attempts_until(1), (LogUnavailable,)) == 1
    assert caplog.messages == []


async def test_it_is_tried_until_it_works(caplog: pytest.LogCaptureFixture) -> None:
    assert await wait_for("Kafka at broker:9092", attempts_until(20), (LogUnavailable,)) == 20
    assert caplog.messages == [
        "waiting for Kafka at broker:9092: no connection, attempt 1",
        "Kafka at broker:9092 is there",
    ]


async def test_it_says_so_again_when_it_takes_long(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "REMINDER_SECONDS", 0.0)
    await wait_for("Kafka", attempts_until(4), (LogUnavailable,))
    assert caplog.messages[:3] == [
        f"waiting for Kafka: no connection, attempt {number}" for number in (1, 2, 3)
    ]


async def test_other_errors_are_not_waited_out() -> None:
    async def attempt() -> None:
        raise WrongLog("another cluster")

    with pytest.raises(WrongLog, match="another cluster"):
        await wait_for("Kafka", attempt, (LogUnavailable,))


async def test_anything_awaitable_can_be_attempted() -> None:
    """A lambda is no coroutine function, though what it returns can be awaited."""
    attempt = attempts_until(2)
    assert await wait_for("Kafka", lambda: attempt(), (LogUnavailable,)) == 2


async def test_a_wait_can_be_cancelled() -> None:
    async def never() -> None:
        raise LogUnavailable("no connection")

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await wait_for("Kafka", never, (LogUnavailable,))


def attempts_until(success: int) -> Callable[[], Awaitable[int]]:
    """An attempt that fails until this one, and returns its number."""
    numbers = count(1)

    async def attempt() -> int:
        number = next(numbers)
        if number < success:
            raise LogUnavailable(f"no connection, attempt {number}")
        return number

    return attempt
