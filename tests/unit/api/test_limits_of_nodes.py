"""Nodes share a limit through the log, and the workers of one node without it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from events.errors import LogUnavailable, WrongLog
from events.memory_log import MemoryLog
from events.totals import HOUR_SECONDS
from tests.builders import fresh_id
from tests.fakes import ManualTime
from tests.unit.api.counted import (
    HOUR,
    a_count,
    issued,
    left,
    statuses,
    two_are_counted_elsewhere_after,
)
from tests.unit.api.running import NOW, running
from tests.unit.api.workers import eventually
from tests.window_fakes import COUNTERS, MemoryWindows, append_count

pytestmark = pytest.mark.anyio


@pytest.fixture
def time() -> ManualTime:
    return ManualTime(NOW)


@pytest.fixture
def log(time: ManualTime) -> MemoryLog:
    return MemoryLog(seconds=time.wall)


async def test_nodes_hear_of_each_other(log: MemoryLog, time: ManualTime, tmp_path: Path) -> None:
    async with (
        running(tmp_path / "one", log=log, time=time) as one,
        running(tmp_path / "other", log=log, time=time) as other,
    ):
        key = await issued(one, 10)
        await other.caught_up()
        assert await statuses(one, key, 6) == [200] * 6
        async with asyncio.timeout(5):
            while await left(other, key) > 4:
                await asyncio.sleep(0.01)

        assert await statuses(other, key, 5) == [200] * 4 + [429]


async def test_workers_of_one_node_need_no_log_for_that(
    log: MemoryLog, time: ManualTime, tmp_path: Path
) -> None:
    async with running(tmp_path, log=log, time=time) as one:
        key = await issued(one, 10)
        one.appends.is_away = True
        async with one.another_worker() as other:
            assert await statuses(one, key, 6) == [200] * 6
            assert await statuses(other, key, 5) == [200] * 4 + [429]


async def test_a_node_answers_only_once_it_knows_all_that_was_counted_before(
    log: MemoryLog, time: ManualTime, tmp_path: Path
) -> None:
    async with running(tmp_path / "one", log=log, time=time) as api:
        key = await issued(api, 10)
    windows = MemoryWindows(log)
    windows.is_away = True
    for count in range(1, 8):
        await append_count(log, a_count(key, count, "elsewhere"))

    async with running(tmp_path / "other", log=log, time=time, windows=windows) as api:
        assert await left(api, key) == 3


async def test_a_key_whose_use_is_only_reported_is_limited(
    log: MemoryLog, time: ManualTime, tmp_path: Path
) -> None:
    async with running(tmp_path, log=log, time=time) as api:
        key = await issued(api, 10)
        await append_count(log, a_count(key, 10, key.key_id, "reports"))
        async with asyncio.timeout(5):
            while await left(api, key) > 0:
                await asyncio.sleep(0.01)

        assert await statuses(api, key, 1) == [429]


async def test_a_topic_that_has_forgotten_what_comes_next_is_read_from_the_start_of_the_hour(
    log: MemoryLog, time: ManualTime, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path, log=log, time=time) as api:
        key = await issued(api, 10)
        failures: list[Exception] = [WrongLog("offset 7 is gone")]
        await two_are_counted_elsewhere_after(failures, api, key, log)
    assert "begin again at the start of the hour: offset 7 is gone" in caplog.text


async def test_an_answer_that_is_no_record_is_waited_out(
    log: MemoryLog, time: ManualTime, tmp_path: Path
) -> None:
    """A missing right, say: validation goes on meanwhile."""
    async with running(tmp_path, log=log, time=time) as api:
        key = await issued(api, 10)
        failures: list[Exception] = [LogUnavailable("not authorized")] * 2
        await two_are_counted_elsewhere_after(failures, api, key, log)
    assert failures == []


async def test_what_is_no_counter_is_told_with_its_place_and_passed_over(
    log: MemoryLog, time: ManualTime, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path, log=log, time=time) as api:
        key = await issued(api, 10)
        record_key = key.key_id.encode()
        where = await log.append(COUNTERS.name, record_key, b'{"count": "canary"}')
        astray = a_count(key, 10, "elsewhere").model_dump_json().encode()
        await log.append(COUNTERS.name, fresh_id().encode(), astray)
        await append_count(log, a_count(key, 3, "elsewhere"))
        async with asyncio.timeout(5):
            while await left(api, key) > 7:
                await asyncio.sleep(0.01)
        await eventually(lambda: caplog.text.count("unreadable record in ratelimit.counters") == 2)

        assert await left(api, key) == 7
    assert f"ratelimit.counters[{where.partition}] at offset {where.offset}" in caplog.text
    assert "canary" not in caplog.text


async def test_a_node_reads_no_more_than_the_hour_and_believes_no_impossible_position(
    log: MemoryLog, time: ManualTime, tmp_path: Path
) -> None:
    windows = MemoryWindows(log)
    async with running(tmp_path / "one", log=log, time=time) as api:
        key = await issued(api, 10)
        for count in range(1, 6):
            await append_count(log, a_count(key, count, "elsewhere"))
    windows._stands_at = dict.fromkeys(range(COUNTERS.partitions), 1_000_000)
    time.pass_by(2 * HOUR_SECONDS)
    await append_count(log, a_count(key, 4, "elsewhere", hour=HOUR + 2))

    async with running(tmp_path / "other", log=log, time=time, windows=windows) as api:
        assert await left(api, key) == 6
        async with api.client() as anyone:
            assert "hokusai_api_window_counts_read_total 1.0" in (await anyone.get("/metrics")).text
