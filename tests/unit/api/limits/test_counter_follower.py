"""What other nodes have counted is gone here too: from before the start, and from then on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from events.errors import LogUnavailable, WrongLog
from events.log import Record
from events.memory_log import MemoryLog, MemoryLogReader
from events.totals import HOUR_SECONDS
from tests.builders import fresh_id
from tests.fakes import ManualTime, UnsteadyLog
from tests.unit.api.limits.follower import NOW, a_follower, eventually, samples
from tests.unit.api.limits.node import BEGIN, HOUR, LINEAGE_ID, NodeProcess, a_count, a_key
from tests.window_fakes import COUNTERS, MemoryWindows, append_count

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


class FailingReader(MemoryLogReader):
    """Reading fails like this at first."""

    def __init__(self, log: MemoryLog, failures: list[Exception]) -> None:
        reader = log.reader(COUNTERS)
        super().__init__(reader._partitions, reader._appended)
        self._failures = failures

    async def read(self, max_records: int = 5000, timeout_seconds: float = 1.0) -> Sequence[Record]:  # type: ignore[override]
        if self._failures:
            raise self._failures.pop()
        return await super().read(max_records, timeout_seconds)


@pytest.mark.parametrize("surroundings", ["all there", "no database", "windows process down"])
async def test_it_knows_all_that_was_counted_before_it_starts(
    log: MemoryLog, time: ManualTime, tmp_path: Path, worker: NodeProcess, surroundings: str
) -> None:
    snapshots = MemoryWindows(log)
    await append_count(log, a_count(2, "one"))
    if surroundings == "windows process down":
        await snapshots.stand_still()
    for count in range(1, 4):
        await append_count(log, a_count(count, "two"))
    await append_count(log, a_count(9, LINEAGE_ID, kind="reports", lineage_id=(other := fresh_id())))
    snapshots.is_away = surroundings == "no database"
    reader = log.reader(COUNTERS)

    async with a_follower(tmp_path, log, time, snapshots=snapshots, reader=reader):
        assert reader.positions() == await reader.end_offsets()
        assert worker.left(a_key(10)) == 5
        assert worker.left(a_key(10, other)) == 1


async def test_nodes_hear_of_each_other(log: MemoryLog, time: ManualTime, tmp_path: Path) -> None:
    one, other = NodeProcess(tmp_path / "one"), NodeProcess(tmp_path / "other")
    async with a_follower(tmp_path / "one", log, time), a_follower(tmp_path / "other", log, time):
        assert one.admits(a_key(10), 6) == [True] * 6
        await eventually(lambda: other.left(a_key(10)) == 4)

        assert other.admits(a_key(10), 5) == [True] * 4 + [False]
    one.close()
    other.close()


@pytest.mark.parametrize("with_snapshot", [True, False], ids=["snapshot", "no database"])
async def test_a_restart_changes_nothing_of_what_is_left(
    log: MemoryLog, time: ManualTime, tmp_path: Path, worker: NodeProcess, with_snapshot: bool
) -> None:
    snapshots = MemoryWindows(log)
    snapshots.is_away = not with_snapshot
    await append_count(log, a_count(2, "one"))
    await append_count(log, a_count(3, "two"))
    worker.admits(a_key(20), 4)
    for number in range(3):
        async with a_follower(tmp_path, log, time, snapshots=snapshots, is_killed=number == 1):
            assert worker.left(a_key(20)) == 11
    await append_count(log, a_count(5, "two"))

    async with a_follower(tmp_path, log, time, snapshots=snapshots):
        assert worker.left(a_key(20)) == 9


async def test_while_it_hears_all_again_nobody_has_more_left(
    log: MemoryLog, time: ManualTime, tmp_path: Path, worker: NodeProcess
) -> None:
    """Its sums begin at 0 and the table's stay until they are higher."""
    await append_count(log, a_count(2, "one"))
    await append_count(log, a_count(3, "two"))
    async with a_follower(tmp_path, log, time):
        assert worker.left(a_key(10)) == 5

    again = NodeProcess(tmp_path, first_slots=1 << 14)
    again.learns(a_count(2, "one"))
    assert worker.left(a_key(10)) == 5
    again.learns(a_count(4, "two"))
    assert worker.left(a_key(10)) == 4
    again.close()


async def test_what_this_node_has_published_and_lost_counts_again(
    log: MemoryLog, time: ManualTime, tmp_path: Path
) -> None:
    worker = NodeProcess(tmp_path, first_slots=1 << 14)
    async with a_follower(tmp_path, log, time):
        worker.admits(a_key(10), 7)
    worker.close()
    (tmp_path / f"3600-{HOUR}.0").unlink()

    worker = NodeProcess(tmp_path, first_slots=1 << 14)
    async with a_follower(tmp_path, log, time):
        assert worker.left(a_key(10)) == 3
        assert worker.admits(a_key(10), 4) == [True] * 3 + [False]
    worker.close()


async def test_counts_of_the_next_hour_that_came_before_the_start_are_known(
    log: MemoryLog, time: ManualTime, tmp_path: Path, worker: NodeProcess
) -> None:
    """From a node whose clock is ahead: the snapshot's positions lie behind them."""
    time.pass_by(HOUR_SECONDS - 20)
    await append_count(log, a_count(4, "early", hour=HOUR + 1))

    async with a_follower(tmp_path, log, time):
        await append_count(log, a_count(3, "another", hour=HOUR + 1))
        await eventually(lambda: worker.left(a_key(10), at=BEGIN + HOUR_SECONDS) == 3)


@pytest.mark.parametrize(
    "failures",
    [[WrongLog("offset 7 is gone")], [LogUnavailable("not authorized"), LogUnavailable("not authorized")]],
    ids=["the topic has forgotten what comes next", "an answer that is no record"],
)
async def test_it_goes_on_after_trouble(
    log: MemoryLog,
    time: ManualTime,
    tmp_path: Path,
    worker: NodeProcess,
    failures: list[Exception],
    caplog: pytest.LogCaptureFixture,
) -> None:
    is_begun_again = isinstance(failures[0], WrongLog)
    async with a_follower(tmp_path, log, time, reader=FailingReader(log, failures)):
        for count in (1, 2):
            await append_count(log, a_count(count))
        await eventually(lambda: worker.left(a_key(10)) == 8)

    assert failures == []
    assert ("begin again at the start of the hour: offset 7 is gone" in caplog.text) == is_begun_again


async def test_what_is_no_counter_is_told_with_its_place_and_passed_over(
    log: MemoryLog,
    time: ManualTime,
    tmp_path: Path,
    worker: NodeProcess,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with a_follower(tmp_path, log, time):
        where = await log.append(COUNTERS.name, LINEAGE_ID.encode(), b'{"count": "canary"}')
        astray = a_count(10).model_dump_json().encode()
        await log.append(COUNTERS.name, fresh_id().encode(), astray)
        await append_count(log, a_count(3))
        await eventually(lambda: worker.left(a_key(10)) == 7)
        await eventually(lambda: caplog.text.count("unreadable record in ratelimit.counters") == 2)

    assert worker.left(a_key(10)) == 7
    assert f"ratelimit.counters[{where.partition}] at offset {where.offset}" in caplog.text
    assert "canary" not in caplog.text


async def test_it_reads_no_more_than_the_hour_and_believes_no_impossible_position(
    log: MemoryLog, time: ManualTime, tmp_path: Path, worker: NodeProcess
) -> None:
    snapshots = MemoryWindows(log)
    for count in range(1, 6):
        await append_count(log, a_count(count))
    snapshots._stands_at = dict.fromkeys(range(COUNTERS.partitions), 1_000_000)
    time.pass_by(2 * HOUR_SECONDS)
    await append_count(log, a_count(4, hour=HOUR + 2))

    async with a_follower(tmp_path, log, time, snapshots=snapshots) as follower:
        assert worker.left(a_key(10), time.wall()) == 6
        assert samples(follower, tmp_path)["hokusai_api_window_counts_read_total"] == 1


async def test_without_the_log_a_node_decides_by_what_it_knows(
    log: MemoryLog, time: ManualTime, tmp_path: Path, worker: NodeProcess
) -> None:
    appends = UnsteadyLog(log)
    appends.is_away = True
    await append_count(log, a_count(4))
    async with a_follower(tmp_path, log, time, appends=appends):
        assert worker.admits(a_key(10), 7) == [True] * 6 + [False]
        await asyncio.sleep(0)
        assert worker.left(a_key(10)) == 0
