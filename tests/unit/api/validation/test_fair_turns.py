"""Who gets the next turn."""

from __future__ import annotations

import asyncio

import pytest

from services.api.validation.fair_turns import FairTurns, NoTurn

pytestmark = pytest.mark.anyio


class Crowd:
    """Callers who wait for turns, each noted when it gets one."""

    def __init__(self, places: int = 1, limit: int = 100) -> None:
        self.turns = FairTurns(places, limit)
        self.served: list[str] = []

    async def comes(self, *names: str) -> list[asyncio.Task[None]]:
        """`a1` is the first of caller `a`."""
        tasks = [asyncio.create_task(self._wait(name)) for name in names]
        await asyncio.sleep(0)
        return tasks

    async def serves(self, count: int) -> list[str]:
        """The next ones to get a turn, one after the other."""
        before = len(self.served)
        for _ in range(count):
            self.turns.give_back()
            await asyncio.sleep(0)
        return self.served[before:]

    async def _wait(self, name: str) -> None:
        await self.turns.take(name[0])
        self.served.append(name)


async def test_a_free_place_is_taken_at_once() -> None:
    crowd = Crowd(places=2)

    await crowd.comes("a1", "a2", "a3")

    assert crowd.served == ["a1", "a2"]
    assert len(crowd.turns) == 1


async def test_callers_take_turns_and_each_keeps_its_own_order() -> None:
    crowd = Crowd()
    await crowd.comes("a1", "a2", "a3", "a4", "a5", "b1", "b2", "c1")

    assert await crowd.serves(7) == ["a2", "b1", "c1", "a3", "b2", "a4", "a5"]


async def test_a_thousand_of_one_caller_do_not_hold_up_one_of_another() -> None:
    crowd = Crowd(limit=2000)
    await crowd.comes(*(f"a{number}" for number in range(1000)))

    assert crowd.turns.before("a") == 999
    assert crowd.turns.before("b") == 1
    await crowd.comes("b1")
    assert "b1" in await crowd.serves(2)


async def test_what_was_given_back_without_need_is_free() -> None:
    crowd = Crowd(places=1)
    await crowd.comes("a1")

    crowd.turns.give_back()
    await crowd.comes("b1")

    assert crowd.served == ["a1", "b1"]


async def test_one_too_many_of_a_caller_is_told_so_at_once() -> None:
    crowd = Crowd(limit=2)

    *_, last = await crowd.comes("a1", "a2", "a3", "a4")

    assert last.done()
    with pytest.raises(NoTurn):
        last.result()


async def test_where_there_is_no_room_the_last_of_the_longest_gives_way() -> None:
    crowd = Crowd(limit=3)
    *_, last = await crowd.comes("a1", "a2", "a3", "a4")

    await crowd.comes("b1")
    await asyncio.sleep(0)

    with pytest.raises(NoTurn):
        last.result()
    assert await crowd.serves(3) == ["a2", "b1", "a3"]


async def test_callers_who_wait_alike_do_not_push_each_other_out() -> None:
    crowd = Crowd(limit=2)
    await crowd.comes("x1", "a1", "b1")

    (late,) = await crowd.comes("c1")

    with pytest.raises(NoTurn):
        late.result()
    assert await crowd.serves(2) == ["a1", "b1"]


async def test_who_goes_away_frees_the_place() -> None:
    crowd = Crowd(limit=2)
    _, second, _ = await crowd.comes("a1", "a2", "b1")

    second.cancel()
    await asyncio.wait([second])

    assert len(crowd.turns) == 1
    await crowd.comes("a3")
    assert await crowd.serves(2) == ["b1", "a3"]


@pytest.mark.parametrize("is_first", [True, False], ids=["gone, then its turn", "its turn, then gone"])
async def test_a_turn_that_comes_as_its_caller_goes_is_the_next_ones(is_first: bool) -> None:
    crowd = Crowd()
    _, second, _ = await crowd.comes("a1", "a2", "b1")

    if is_first:
        second.cancel()
    crowd.turns.give_back()
    if not is_first:
        second.cancel()
    await asyncio.wait([second])
    await asyncio.sleep(0)

    assert second.cancelled()
    assert crowd.served == ["a1", "b1"]
