"""Who waits for a record is told once the store includes it, and nobody looks while nobody waits."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from events.log import Position
from services.api.directory.store_progress import StoreProgress

pytestmark = pytest.mark.anyio


class Store:
    """Offsets that the test moves, and how often somebody has looked at them."""

    def __init__(self) -> None:
        self.offsets = {0: 5, 1: 5}
        self.looks = 0

    def positions(self) -> Mapping[int, int]:
        self.looks += 1
        return self.offsets


async def test_what_the_store_includes_is_not_waited_for() -> None:
    store = Store()
    await asyncio.wait_for(StoreProgress(store.positions).passed(Position("topic", 0, 4)), 1)
    assert store.looks == 1


async def test_each_is_told_when_its_own_record_is_there() -> None:
    store = Store()
    progress = StoreProgress(store.positions)
    first, second = (asyncio.create_task(progress.passed(Position("topic", 0, at))) for at in (5, 6))
    await asyncio.sleep(0.01)
    assert not first.done()

    store.offsets[0] = 6
    await asyncio.wait_for(first, 1)
    assert not second.done()

    store.offsets[0] = 7
    await asyncio.wait_for(second, 1)


async def test_many_who_wait_cost_as_many_looks_as_one_and_none_when_they_are_gone() -> None:
    store = Store()
    progress = StoreProgress(store.positions)
    waiting = [asyncio.create_task(progress.passed(Position("topic", 1, 9))) for _ in range(200)]
    await asyncio.sleep(0.05)
    assert store.looks < 200 + 100

    for one in waiting:
        one.cancel()
    await asyncio.wait(waiting)
    await asyncio.sleep(0.01)
    looks = store.looks
    await asyncio.sleep(0.05)
    assert store.looks == looks
