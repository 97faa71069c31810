"""What was admitted stays admitted: after a restart, when a worker ends, without the processes around."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from events.memory_log import MemoryLog
from events.totals import HOUR_SECONDS
from tests.fakes import ManualTime
from tests.unit.api.counted import (
    issued,
    left,
    published,
    statuses,
)
from tests.unit.api.running import NOW, running
from tests.unit.api.workers import eventually
from tests.window_fakes import MemoryWindows

pytestmark = pytest.mark.anyio


@pytest.fixture
def time() -> ManualTime:
    return ManualTime(NOW)


@pytest.fixture
def log(time: ManualTime) -> MemoryLog:
    return MemoryLog(seconds=time.wall)


@pytest.mark.parametrize("folder", ["one", "other"], ids=["with its folder", "without it"])
@pytest.mark.parametrize("surroundings", ["all there", "no database", "windows process down"])
async def test_a_restart_refills_nothing(
    log: MemoryLog, time: ManualTime, tmp_path: Path, surroundings: str, folder: str
) -> None:
    windows = MemoryWindows(log)
    async with running(tmp_path / "one", log=log, time=time) as api:
        key = await issued(api, 20)
        assert await statuses(api, key, 5) == [200] * 5
        if surroundings == "windows process down":
            await windows.stand_still()
            time.pass_by(600)
        assert await statuses(api, key, 15) == [200] * 15
    windows.is_away = surroundings == "no database"

    async with running(tmp_path / folder, log=log, time=time, windows=windows) as api:
        assert await statuses(api, key, 1) == [429]
        time.pass_by(HOUR_SECONDS)
        assert await statuses(api, key, 21) == [200] * 20 + [429]


async def test_what_the_log_never_heard_of_stays_counted_on_the_node(
    log: MemoryLog, time: ManualTime, tmp_path: Path
) -> None:
    """The whole api is stopped and started while Kafka takes nothing: its table knows."""
    async with running(tmp_path, log=log, time=time) as api:
        key = await issued(api, 10)
        api.appends.is_away = True
        assert await statuses(api, key, 8) == [200] * 8
    assert await published(log, key) == 0

    async with running(tmp_path, log=log, time=time) as api:
        assert await left(api, key) == 2
        async with asyncio.timeout(5):
            while await published(log, key) < 8:
                await asyncio.sleep(0.01)
        assert await statuses(api, key, 3) == [200] * 2 + [429]


async def test_what_a_worker_has_admitted_outlives_it(
    log: MemoryLog, time: ManualTime, tmp_path: Path
) -> None:
    async with running(tmp_path, log=log, time=time) as api:
        key = await issued(api, 10)
        api.appends.is_away = True
        async with api.another_worker() as ending:
            assert await statuses(ending, key, 6) == [200] * 6

        assert await left(api, key) == 4
        async with api.another_worker() as successor:
            assert await statuses(successor, key, 3) == [200] * 3
        assert await statuses(api, key, 2) == [200, 429]


async def test_a_node_that_stops_has_published_every_admission(
    log: MemoryLog, time: ManualTime, tmp_path: Path
) -> None:
    async with running(tmp_path, log=log, time=time) as api, api.another_worker() as other:
        key = await issued(api, 100_000)
        await statuses(api, key, 25)
        await statuses(other, key, 5)

    assert await published(log, key) == 30


async def test_a_node_stops_in_time_when_the_log_does_not_take_its_counts(
    log: MemoryLog, time: ManualTime, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with asyncio.timeout(5), running(tmp_path, log=log, time=time) as api:
        key = await issued(api, 100_000)
        api.appends.is_away = True
        await statuses(api, key, 25)

    assert "the last counts of 1 lineages were not published" in caplog.text


async def test_without_the_log_a_node_decides_by_what_it_knows_and_tells_later(
    log: MemoryLog, time: ManualTime, tmp_path: Path
) -> None:
    async with running(tmp_path, log=log, time=time) as api:
        key = await issued(api, 10)
        api.appends.is_away = True
        attempts = api.appends.attempts
        assert await statuses(api, key, 11) == [200] * 10 + [429]
        await eventually(lambda: api.appends.attempts > attempts)
        assert await published(log, key) == 0

        api.appends.is_away = False

        async with asyncio.timeout(5):
            while await published(log, key) < 10:
                await asyncio.sleep(0.01)
