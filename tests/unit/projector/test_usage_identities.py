"""The work that forgets past periods ends when it is told to, whatever it waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest
from psycopg_pool import PoolTimeout

from events.keeper.process import Opened
from events.memory_log import MemoryLog
from events.together import run_together, until
from services.projector.usage_identities import dropping_periods

pytestmark = pytest.mark.anyio


class AwayPool:
    """A Postgres that is away: nobody gets a connection."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    def connection(self) -> Any:
        self.asked.set()
        raise PoolTimeout("no connection")


async def test_it_ends_when_told_to_while_postgres_is_away() -> None:
    pool, stopping = AwayPool(), asyncio.Event()
    opened = Opened(cast(Any, pool), MemoryLog())
    dropping = dropping_periods("keys.usage", _no_ends)(opened)
    working = asyncio.create_task(run_together(dropping, until(stopping)))
    await asyncio.wait_for(pool.asked.wait(), 1)
    stopping.set()
    await asyncio.wait_for(working, 1)


async def _no_ends() -> Mapping[int, int]:
    return {}
