"""Activities of a process end together."""

from __future__ import annotations

import asyncio

import pytest

from events.together import run_together

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
