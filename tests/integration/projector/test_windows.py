"""Rate windows: what nodes have counted is in Postgres within a second, with the offsets it includes."""

from __future__ import annotations

import pytest

from tests.builders import fresh_id
from tests.integration.projector.windows_world import WindowsWorld, a_count, highest
from tests.integration.projector.world import eventually

pytestmark = pytest.mark.anyio


async def test_explore(windows_world: WindowsWorld) -> None:
    world = windows_world
    counters = [a_count(fresh_id(), n) for n in range(50)]
    positions = await world.count(counters)
    process = world.windows()
    await eventually(lambda: process.says("waiting for schema projector"), "it to wait")
    await world.make_schema()
    await eventually(process.is_ready, "it to be ready")

    async def right() -> bool:
        return dict(await world.counts()) == dict(highest(counters))
    try:
        await eventually(right, "all counted", 15)
    finally:
        print(process.log_of_this_run()[-6000:])
    print(await world.positions(), positions[:3])
    print(process.metric("windows_applied_records_total"))
    process.terminate()
    await eventually(lambda: not process.is_running, "it to end")
    print(process.exit_code, process.log_of_this_run()[-3000:])
