"""One asks, the others share what it hears, and for a moment nobody asks again."""

from __future__ import annotations

import asyncio

import pytest

from events.remembered import Remembered

pytestmark = pytest.mark.anyio


class Oracle:
    """Answers with a number one higher each time, when it is let; counts who is asking at once."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.asked = 0
        self.problem: Exception | None = None
        self.now = 100.0

    async def ask(self) -> int:
        self.asked += 1
        answer = self.asked
        await self.may_answer.wait()
        if self.problem is not None:
            raise self.problem
        return answer

    def remembered(self) -> Remembered[int]:
        return Remembered(self.ask, 1.0, lambda: self.now)


async def test_an_answer_holds_for_its_time_and_no_longer() -> None:
    oracle = Oracle()
    remembered = oracle.remembered()
    assert [await remembered.get() for _ in range(3)] == [1, 1, 1]

    oracle.now += 0.999
    assert await remembered.get() == 1
    oracle.now += 0.001
    assert await remembered.get() == 2


async def test_a_thousand_at_once_ask_once() -> None:
    oracle = Oracle()
    oracle.may_answer.clear()
    remembered = oracle.remembered()
    waiting = [asyncio.create_task(remembered.get()) for _ in range(1000)]
    await asyncio.sleep(0)
    oracle.may_answer.set()

    assert set(await asyncio.gather(*waiting)) == {1}
    assert oracle.asked == 1


async def test_who_asked_first_may_hang_up() -> None:
    oracle = Oracle()
    oracle.may_answer.clear()
    remembered = oracle.remembered()
    first, second = (asyncio.create_task(remembered.get()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    oracle.may_answer.set()

    assert await second == 1
    assert first.cancelled()


async def test_an_error_reaches_all_who_wait_and_is_not_remembered() -> None:
    oracle = Oracle()
    oracle.problem = RuntimeError("on purpose")
    remembered = oracle.remembered()
    found = await asyncio.gather(*(remembered.get() for _ in range(3)), return_exceptions=True)
    assert [str(one) for one in found] == ["on purpose"] * 3
    assert oracle.asked == 1

    oracle.problem = None
    assert await remembered.get() == 2
