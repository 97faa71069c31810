"""What was admitted stays admitted: after a restart, on other nodes, without the processes around."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from events.errors import LogUnavailable, WrongLog
from events.log import Record
from events.memory_log import MemoryLog
from events.totals import HOUR_SECONDS, WindowCount
from services.api import window_publisher
from services.api.metrics import Metrics
from services.api.window_follower import WindowFollower
from tests.builders import fresh_id
from tests.fakes import ManualTime
from tests.unit.api.callers import VALIDATE, Issued, a_key, bearer
from tests.unit.api.running import NOW, Surroundings, running
from tests.unit.api.test_rate_windows import a_key as a_key_with
from tests.unit.api.workers import eventually
from tests.window_fakes import COUNTERS, MemoryWindows, a_view_of_windows, append_count, counts_in

pytestmark = pytest.mark.anyio

HOUR = int(NOW.timestamp() // HOUR_SECONDS)


@pytest.fixture
def time() -> ManualTime:
    return ManualTime(NOW)


@pytest.fixture
def log(time: ManualTime) -> MemoryLog:
    return MemoryLog(seconds=time.wall)


async def issued(api: Surroundings, limit: int) -> Issued:
    async with api.client() as admin:
        return await a_key(admin, rate_limit_per_hour=limit)


async def two_are_counted_elsewhere_after(
    failures: list[Exception], api: Surroundings, key: Issued, log: MemoryLog
) -> None:
    """Reading the counters fails like this at first; then both counts are heard of."""
    read = api.counters.read

    async def fail_at_first(max_records: int = 5000, timeout_seconds: float = 1.0) -> Sequence[Record]:
        if failures:
            raise failures.pop()
        return await read(max_records, timeout_seconds)

    api.counters.read = fail_at_first  # type: ignore[method-assign]
    for count in (1, 2):
        await append_count(log, a_count(key, count, "elsewhere"))
    async with asyncio.timeout(5):
        while await left(api, key) > 8:
            await asyncio.sleep(0.01)


async def statuses(api: Surroundings, key: Issued, count: int) -> list[int]:
    async with api.client(admin=False) as anyone:
        return [(await anyone.post(VALIDATE, headers=bearer(key))).status_code for _ in range(count)]


async def published(log: MemoryLog, key: Issued) -> int:
    """All that workers have published, each by its highest count; the key was never rotated."""
    highest: dict[str, int] = {}
    for counter in await counts_in(log):
        if counter.lineage_id == key.key_id:
            highest[counter.node_id] = max(counter.count, highest.get(counter.node_id, 0))
    return sum(highest.values())


async def left(api: Surroundings, key: Issued) -> int:
    """What another service would be told, without asking for it."""
    async with api.client(admin=False) as anyone:
        answer = await anyone.post(VALIDATE, headers=bearer(key), json={"service_id": "another"})
    return int(answer.headers["ratelimit-remaining"])


def a_count(
    key: Issued, count: int, node_id: str, kind: str = "validations", hour: int = HOUR
) -> WindowCount:
    return WindowCount.model_validate(
        {"node_id": node_id, "kind": kind, "lineage_id": key.key_id, "hour": hour, "count": count}
    )


@pytest.mark.parametrize("surroundings", ["all there", "no database", "windows process down"])
async def test_a_restart_refills_nothing(
    log: MemoryLog, time: ManualTime, tmp_path: Path, surroundings: str
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

    async with running(tmp_path / "other", log=log, time=time, windows=windows) as api:
        assert await statuses(api, key, 1) == [429]
        time.pass_by(HOUR_SECONDS)
        assert await statuses(api, key, 21) == [200] * 20 + [429]


async def test_a_stopped_worker_has_published_every_admission(
    log: MemoryLog, time: ManualTime, tmp_path: Path
) -> None:
    async with running(tmp_path, log=log, time=time) as api:
        key = await issued(api, 100_000)
        await statuses(api, key, 25)

    assert await published(log, key) == 25


@pytest.mark.parametrize("trouble", ["no answer", "errors"])
async def test_a_worker_stops_in_time_when_the_log_does_not_take_its_counts(
    log: MemoryLog,
    time: ManualTime,
    tmp_path: Path,
    trouble: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(window_publisher, "FLUSH_SECONDS", 0.05)
    async with asyncio.timeout(5), running(tmp_path, log=log, time=time) as api:
        key = await issued(api, 100_000)
        if trouble == "no answer":
            api.appends.hold()
        else:
            api.appends.is_away = True
        await statuses(api, key, 25)

    assert "the last counts of 1 lineages were not published" in caplog.text


async def test_without_the_log_a_worker_decides_by_what_it_knows_and_tells_later(
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
        async with running(tmp_path, log=log, time=time) as other:
            assert await statuses(one, key, 6) == [200] * 6
            assert await statuses(other, key, 5) == [200] * 4 + [429]


async def test_a_worker_listens_only_once_it_knows_all_that_was_counted_before(
    log: MemoryLog, time: ManualTime
) -> None:
    windows, snapshots, lineage_id = a_view_of_windows(), MemoryWindows(log), fresh_id()
    for count in range(1, 8):
        await append_count(log, a_count(Issued("", lineage_id), count, "elsewhere"))
    snapshots.is_away = True
    reader = log.reader(COUNTERS)

    await WindowFollower(reader, windows, snapshots, time.clock(), Metrics()).start()

    assert reader.positions() == await reader.end_offsets()
    assert windows.remaining(a_key_with(10, lineage_id), NOW.timestamp()) == 3


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


async def test_a_worker_reads_no_more_than_the_hour_and_believes_no_impossible_position(
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
