"""What a node has counted reaches the log: near a limit soon, all of it in the end, whatever dies."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from events.log import Position
from events.memory_log import MemoryLog
from events.totals import HOUR_SECONDS
from services.api.limits import scan
from services.api.limits.node_id import node_id
from tests.builders import fresh_id
from tests.fakes import ManualTime, UnsteadyLog
from tests.unit.api.limits.follower import NOW, a_follower, counts_of, eventually, published, samples
from tests.unit.api.limits.node import BEGIN, HOUR, LINEAGE_ID, NodeProcess, a_count, a_key
from tests.window_fakes import counts_in

pytestmark = pytest.mark.anyio


@pytest.fixture
def time() -> ManualTime:
    return ManualTime(NOW)


@pytest.fixture
def log(time: ManualTime) -> MemoryLog:
    return MemoryLog(seconds=time.wall)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[NodeProcess]:
    worker = NodeProcess(tmp_path, first_slots=1 << 14)
    yield worker
    worker.close()


class StarvedLog(UnsteadyLog):
    """The first append finds no memory."""

    async def append(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Position:
        if not self.attempts:
            self.attempts += 1
            raise MemoryError
        return await super().append(topic, key, value, headers)


async def is_published(log: MemoryLog, count: int, lineage_id: str = LINEAGE_ID, hour: int = HOUR) -> None:
    async def has_it() -> bool:
        return sum((await published(log, lineage_id, hour)).values()) == count

    await eventually(has_it)


async def test_the_first_admission_is_published_at_once(
    log: MemoryLog, time: ManualTime, tmp_path: Path, worker: NodeProcess
) -> None:
    async with a_follower(tmp_path, log, time) as follower:
        worker.admits(a_key(100_000), at=BEGIN + 10.25)
        await is_published(log, 1)

        (counter,) = await counts_of(log, LINEAGE_ID, HOUR)
        assert counter == a_count(1, follower.node_id, last_used={LINEAGE_ID: int(BEGIN + 10) * 1000 + 250})


async def test_what_is_admitted_while_a_count_is_on_its_way_goes_with_the_next_one(
    log: MemoryLog, time: ManualTime, tmp_path: Path, worker: NodeProcess
) -> None:
    appends = UnsteadyLog(log)
    appends.hold()
    async with a_follower(tmp_path, log, time, appends=appends):
        worker.admits(a_key(100))
        await eventually(lambda: appends.attempts == 1)
        worker.admits(a_key(100), 50)
        await asyncio.sleep(0)
        assert appends.attempts == 1

        appends.let_through()
        await is_published(log, 51)

    assert [counter.count for counter in await counts_of(log, LINEAGE_ID, HOUR)] == [1, 51]


async def test_what_is_far_from_its_limit_is_published_within_five_minutes(
    log: MemoryLog, time: ManualTime, tmp_path: Path, worker: NodeProcess
) -> None:
    assert scan.SCAN_SECONDS <= 120
    async with a_follower(tmp_path, log, time) as follower:
        worker.admits(a_key(100_000))
        await is_published(log, 1)
        worker.admits(a_key(100_000), 5)
        other = fresh_id()
        worker.admits(a_key(100_000, other))
        await is_published(log, 1, other)
        assert await published(log, LINEAGE_ID, HOUR) == {follower.node_id: 1}

        time.pass_by(scan.SCAN_SECONDS)

        await is_published(log, 6)


async def test_what_others_take_makes_a_count_due(
    log: MemoryLog, time: ManualTime, tmp_path: Path, worker: NodeProcess
) -> None:
    async with a_follower(tmp_path, log, time):
        worker.admits(a_key(1000))
        await is_published(log, 1)
        worker.admits(a_key(1000), 5)

        counter = a_count(900)
        await log.append("ratelimit.counters", LINEAGE_ID.encode(), counter.model_dump_json().encode())

        await is_published(log, 906)


async def test_more_that_is_due_than_datagrams_that_wait_is_found_in_the_table(
    log: MemoryLog, time: ManualTime, tmp_path: Path, worker: NodeProcess
) -> None:
    lineages = [fresh_id() for _ in range(2000)]
    async with a_follower(tmp_path, log, time, is_killed=True):
        await asyncio.sleep(0)
        for lineage_id in lineages:  # the follower can't listen meanwhile: it is in this very thread
            worker.admits(a_key(100_000, lineage_id))

        async def all_are_published() -> bool:
            return {counter.lineage_id for counter in await counts_in(log)} == set(lineages)

        await eventually(all_are_published)


async def test_a_killed_follower_is_followed_by_one_that_publishes_what_was_unpublished(
    log: MemoryLog, time: ManualTime, tmp_path: Path, worker: NodeProcess
) -> None:
    async with a_follower(tmp_path, log, time, is_killed=True):
        worker.admits(a_key(100_000))
        await is_published(log, 1)
    worker.admits(a_key(100_000), 3)
    worker.admits(a_key(10, other := fresh_id()), 3)

    async with a_follower(tmp_path, log, time, is_killed=True) as follower:
        await is_published(log, 4)
        await is_published(log, 3, other)
        assert await published(log, LINEAGE_ID, HOUR) == {follower.node_id: 4}


async def test_a_follower_killed_while_it_sends_leaves_the_count_to_the_next_one(
    log: MemoryLog, time: ManualTime, tmp_path: Path, worker: NodeProcess
) -> None:
    appends = UnsteadyLog(log)
    appends.hold()
    async with a_follower(tmp_path, log, time, appends=appends, is_killed=True):
        worker.admits(a_key(100))
        await eventually(lambda: appends.attempts == 1)
    worker.admits(a_key(100))

    async with a_follower(tmp_path, log, time, is_killed=True):
        await is_published(log, 2)
        worker.admits(a_key(100))
        await is_published(log, 3)


async def test_what_the_hour_has_ended_before_is_published_all_the_same(
    log: MemoryLog, time: ManualTime, tmp_path: Path, worker: NodeProcess
) -> None:
    async with a_follower(tmp_path, log, time, is_killed=True):
        worker.admits(a_key(100_000))
        await is_published(log, 1)
        worker.admits(a_key(100_000), at=BEGIN + HOUR_SECONDS - 1)
        time.pass_by(HOUR_SECONDS)
        worker.admits(a_key(100_000), at=BEGIN + HOUR_SECONDS + 10)

        await is_published(log, 2)
        await is_published(log, 1, hour=HOUR + 1)


async def test_tables_of_hours_that_are_over_are_deleted_once_they_are_published(
    log: MemoryLog, time: ManualTime, tmp_path: Path, worker: NodeProcess
) -> None:
    appends = UnsteadyLog(log)
    async with a_follower(tmp_path, log, time, appends=appends) as follower:
        worker.admits(a_key(10))
        await is_published(log, 1)
        appends.is_away = True
        worker.admits(a_key(10))
        time.pass_by(HOUR_SECONDS + 2 * scan.SCAN_SECONDS)
        for _ in range(3):
            worker.admits(a_key(10, fresh_id()), at=time.wall())
        # It has looked through the tables before it says how many lineages the hour has.
        await eventually(lambda: samples(follower, tmp_path)["hokusai_api_rate_windows"] == 3)
        assert follower.tables.numbers() == [HOUR, HOUR + 1]

        appends.is_away = False
        await is_published(log, 2)
        time.pass_by(scan.SCAN_SECONDS)

        await eventually(lambda: follower.tables.numbers() == [HOUR + 1])


async def test_a_table_that_the_log_would_not_keep_is_deleted_unpublished(
    log: MemoryLog, time: ManualTime, tmp_path: Path, worker: NodeProcess
) -> None:
    worker.admits(a_key(10))
    time.pass_by(3 * HOUR_SECONDS)

    async with a_follower(tmp_path, log, time) as follower:
        await eventually(lambda: HOUR not in follower.tables.numbers())


async def test_the_next_hours_table_is_there_before_the_hour(
    log: MemoryLog, time: ManualTime, tmp_path: Path
) -> None:
    time.pass_by(HOUR_SECONDS - 60)
    async with a_follower(tmp_path, log, time) as follower:
        await eventually(lambda: HOUR + 1 in follower.tables.numbers())


async def test_without_the_log_counts_wait_and_are_sent_as_they_are_then(
    log: MemoryLog,
    time: ManualTime,
    tmp_path: Path,
    worker: NodeProcess,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    appends = UnsteadyLog(log)
    appends.is_away = True
    async with a_follower(tmp_path, log, time, appends=appends):
        assert worker.admits(a_key(10), 11) == [True] * 10 + [False]
        await eventually(lambda: appends.attempts > 1)
        appends.is_away = False

        await is_published(log, 10)

    assert [counter.count for counter in await counts_of(log, LINEAGE_ID, HOUR)] == [10]
    assert caplog.text.count("counts are not published until the log is back") == 1
    assert "counts are published again" in caplog.text


async def test_memory_that_ran_out_while_sending_ends_nothing(
    log: MemoryLog, time: ManualTime, tmp_path: Path, worker: NodeProcess
) -> None:
    async with a_follower(tmp_path, log, time, appends=StarvedLog(log)):
        worker.admits(a_key(10))
        await is_published(log, 1)


async def test_a_follower_that_stops_has_published_every_admission(
    log: MemoryLog, time: ManualTime, tmp_path: Path, worker: NodeProcess
) -> None:
    async with a_follower(tmp_path, log, time):
        for lineage_id in (LINEAGE_ID, *(fresh_id() for _ in range(100))):
            worker.admits(a_key(100_000, lineage_id), 25)

    assert await published(log, LINEAGE_ID, HOUR) == {node_id(tmp_path): 25}
    assert worker.unpublished() == []


@pytest.mark.parametrize("trouble", ["no answer", "errors"])
async def test_a_follower_stops_in_time_when_the_log_does_not_take_its_counts(
    log: MemoryLog,
    time: ManualTime,
    tmp_path: Path,
    worker: NodeProcess,
    trouble: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    appends = UnsteadyLog(log)
    if trouble == "no answer":
        appends.hold()
    else:
        appends.is_away = True
    async with asyncio.timeout(5), a_follower(tmp_path, log, time, appends=appends):
        worker.admits(a_key(100_000), 25)

    assert "the last counts of 1 lineages were not published" in caplog.text


async def test_a_node_that_lost_its_folder_counts_under_another_name(
    log: MemoryLog, time: ManualTime, tmp_path: Path
) -> None:
    folder, ids = tmp_path / "node", []
    for _ in range(2):
        worker = NodeProcess(folder)
        async with a_follower(folder, log, time) as follower:
            ids.append(follower.node_id)
            assert worker.admits(a_key(10), 4) == [True] * 4
        worker.close()
        shutil.rmtree(folder)

    assert await published(log, LINEAGE_ID, HOUR) == dict.fromkeys(ids, 4)
    async with a_follower(folder, log, time):
        worker = NodeProcess(folder)
        assert worker.admits(a_key(10), 3) == [True, True, False]
        worker.close()


async def test_metrics_tell_how_full_the_table_is(
    log: MemoryLog, time: ManualTime, tmp_path: Path, worker: NodeProcess
) -> None:
    async with a_follower(tmp_path, log, time) as follower:
        for _ in range(3):
            worker.admits(a_key(10, fresh_id()))
        worker.admits(a_key(10, last := fresh_id()))
        worker.admits(a_key(10, last, fresh_id()))
        await is_published(log, 2, last)
        await eventually(lambda: samples(follower, tmp_path)["hokusai_api_rate_windows"] == 4)

        found = samples(follower, tmp_path)
        assert found["hokusai_api_rate_table_slots"] == 1 << 14
        assert found["hokusai_api_rate_table_used"] == 5
        assert found["hokusai_api_window_counts_sent_total"] >= 4
