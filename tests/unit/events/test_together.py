"""Activities of a process end together."""

from __future__ import annotations

import asyncio

import pytest

from events.together import ActivityGroup, run_together

pytestmark = pytest.mark.anyio


async def test_the_first_to_end_ends_the_others() -> None:
    ended = asyncio.Event()

    async def quick() -> None:
        pass

    await run_together(quick(), _for_ever(ended))
    assert ended.is_set()


async def test_the_error_of_one_is_raised_as_it_is_and_ends_the_others() -> None:
    ended = asyncio.Event()

    async def failing() -> None:
        raise LookupError("this one")

    with pytest.raises(LookupError, match="this one"):
        await run_together(_for_ever(ended), failing())
    assert ended.is_set()


async def test_cancelled_from_outside_it_ends_them_all() -> None:
    ended = asyncio.Event()
    running = asyncio.create_task(run_together(_for_ever(ended)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended.is_set()


async def _for_ever(ended: asyncio.Event) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.set()


async def test_a_group_ends_when_it_is_asked_to_and_all_have_ended_by_themselves() -> None:
    group, stopping, done = ActivityGroup(), asyncio.Event(), asyncio.Event()

    async def finishing() -> None:
        await stopping.wait()
        await asyncio.sleep(0)
        done.set()

    group.begin(finishing())
    stopping.set()
    await group.run(stopping)
    assert done.is_set()


async def test_the_first_of_a_group_that_raises_ends_the_others() -> None:
    group, ended = ActivityGroup(), asyncio.Event()

    async def failing() -> None:
        raise LookupError("this one")

    group.begin(_for_ever(ended))
    running = asyncio.create_task(group.run(asyncio.Event()))
    await asyncio.sleep(0)
    group.begin(failing())
    with pytest.raises(LookupError, match="this one"):
        await running
    assert ended.is_set()
