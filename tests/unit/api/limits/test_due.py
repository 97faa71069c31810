"""A worker tells the follower without waiting for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from services.api.limits.due import Due, DueListener, DueSignal

pytestmark = pytest.mark.anyio


@pytest.fixture
def signal(tmp_path: Path) -> Iterator[DueSignal]:
    with closing(DueSignal(tmp_path)) as signal:
        yield signal


async def test_what_was_sent_is_received_in_order(signal: DueSignal, tmp_path: Path) -> None:
    with closing(DueListener(tmp_path)) as listener:
        assert all(signal.send(500_000 + number, number << 40) for number in range(5))

        async with asyncio.timeout(5):
            assert await listener.receive() == [Due(500_000 + number, number << 40) for number in range(5)]


async def test_a_listener_wakes_up(signal: DueSignal, tmp_path: Path) -> None:
    with closing(DueListener(tmp_path)) as listener:
        received = asyncio.create_task(listener.receive())
        await asyncio.sleep(0)
        signal.send(1, 2)

        async with asyncio.timeout(5):
            assert await received == [Due(1, 2)]


async def test_nobody_listens_and_nobody_waits(signal: DueSignal, tmp_path: Path) -> None:
    assert not signal.send(1, 2)
    DueListener(tmp_path).close()
    assert not signal.send(1, 2)


async def test_a_follower_that_does_not_listen_fast_enough_holds_up_nobody(
    signal: DueSignal, tmp_path: Path
) -> None:
    with closing(DueListener(tmp_path)) as listener:
        sent = 0
        while signal.send(1, sent):
            sent += 1
            assert sent < 1_000_000

        received: list[Due] = []
        async with asyncio.timeout(5):
            while len(received) < sent:
                received += await listener.receive()
        assert [due.place for due in received] == list(range(sent))
        assert signal.send(1, 2)


async def test_a_follower_that_starts_again_is_told(signal: DueSignal, tmp_path: Path) -> None:
    killed = DueListener(tmp_path)
    with closing(DueListener(tmp_path)) as listener:
        assert signal.send(1, 2)

        async with asyncio.timeout(5):
            assert await listener.receive() == [Due(1, 2)]
    killed.close()


async def test_a_folder_may_have_a_long_name(tmp_path: Path) -> None:
    """An address of a Unix socket takes 108 bytes."""
    folder = tmp_path / ("long-" * 40) / ("longer-" * 30)
    with closing(DueListener(folder)) as listener, closing(DueSignal(folder)) as signal:
        assert signal.send(1, 2)
        assert await listener.receive() == [Due(1, 2)]
        assert (folder / "due.socket").stat().st_mode & 0o777 == 0o600
