"""Memory goes back to the system after many connections have ended, and not before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from services.api import freed_memory
from services.api.freed_memory import WORTH_IT, give_memory_back

pytestmark = pytest.mark.anyio


class Descriptors:
    """As many as the test says, and how often memory was given back."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.trims = 0

    def hold(self, count: int) -> None:
        for number in range(count):
            (self._folder / str(number)).touch()
        for path in self._folder.iterdir():
            if int(path.name) >= count:
                path.unlink()

    def trim(self) -> None:
        self.trims += 1


@pytest.fixture
def descriptors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Descriptors:
    descriptors = Descriptors(tmp_path)
    monkeypatch.setattr(freed_memory, "DESCRIPTORS", str(tmp_path))
    monkeypatch.setattr(freed_memory, "CHECK_SECONDS", 0.001)
    monkeypatch.setattr(freed_memory, "_trim", descriptors.trim)
    return descriptors


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


async def test_once_after_many_have_ended(descriptors: Descriptors) -> None:
    working = asyncio.create_task(give_memory_back())
    descriptors.hold(WORTH_IT + 10)
    await asyncio.sleep(0.1)
    assert descriptors.trims == 0
    descriptors.hold(5)
    await eventually(lambda: descriptors.trims == 1)
    descriptors.hold(WORTH_IT // 2)
    descriptors.hold(5)
    await asyncio.sleep(0.1)
    assert descriptors.trims == 1
    working.cancel()


async def test_where_nothing_can_be_seen_nothing_is_done(
    descriptors: Descriptors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freed_memory, "DESCRIPTORS", "/nowhere")
    working = asyncio.create_task(give_memory_back())
    await asyncio.sleep(0.05)
    assert not working.done()
    working.cancel()
