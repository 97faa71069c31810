"""Whether all that the log holds now is in the store: asked for ids that nobody knows here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest

from events.log import LogReader, Record
from events.memory_log import MemoryLog
from services.api.directory import lifecycle_follower
from services.api.directory.lifecycle_follower import LifecycleFollower
from tests.builders import a_key_created
from tests.fakes import UnsteadyReader
from tests.unit.api.workers import TOPIC, Worker, append, build, eventually, following

pytestmark = pytest.mark.anyio


class SlowReader(UnsteadyReader):
    """Says where the log ends, and returns records only when told. Counts the questions of those who ask."""

    def __init__(self, reader: LogReader) -> None:
        super().__init__(reader)
        self.reads = asyncio.Event()
        self.reads.set()
        self.questions = 0

    async def read(self, max_records: int = 5000, timeout_seconds: float = 1.0) -> Sequence[Record]:
        records = await super().read(max_records, timeout_seconds)
        await self.reads.wait()
        return records

    async def end_offsets(self, timeout_seconds: float = 5.0) -> Mapping[int, int]:
        self.questions += timeout_seconds == lifecycle_follower.PATIENCE_SECONDS
        return await super().end_offsets(timeout_seconds)


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def reader(log: MemoryLog) -> SlowReader:
    return SlowReader(log.reader(TOPIC))


@pytest.fixture
async def worker(log: MemoryLog, reader: SlowReader, tmp_path: Path) -> AsyncIterator[Worker]:
    async with following(build(tmp_path, reader, log)) as worker:
        yield worker
        reader.reads.set()


@pytest.fixture
def follower(worker: Worker) -> LifecycleFollower:
    return worker.follower


async def test_it_is_once_all_of_the_log_is_in_the_store(
    log: MemoryLog, reader: SlowReader, worker: Worker, follower: LifecycleFollower
) -> None:
    assert await follower.is_caught_up()
    created = a_key_created()
    reader.reads.clear()
    await append(log, created)

    asking = asyncio.create_task(follower.is_caught_up())
    await asyncio.wait([asking], timeout=0.15)
    assert not asking.done()
    assert created.data.key_id not in worker.directory
    reader.reads.set()

    assert await asking
    assert created.data.key_id in worker.directory


async def test_a_flood_of_made_up_ids_shares_one_question(
    reader: SlowReader, follower: LifecycleFollower
) -> None:
    flood = []
    for _ in range(100):
        flood.append(asyncio.create_task(follower.is_caught_up()))
        await asyncio.sleep(0)

    assert await asyncio.gather(*flood) == [True] * 100
    assert reader.questions == 1


async def test_who_asks_later_is_told_of_the_log_as_it_is_then(
    log: MemoryLog, reader: SlowReader, worker: Worker, follower: LifecycleFollower
) -> None:
    """An answer that is under way knows nothing of a key that was created since."""
    asked_first = asyncio.create_task(follower.is_caught_up())
    await eventually(lambda: reader.questions == 1)
    reader.reads.clear()
    created = a_key_created()
    await append(log, created)

    asked_later = asyncio.create_task(follower.is_caught_up())
    assert await asked_first
    await asyncio.wait([asked_later], timeout=0.15)
    assert not asked_later.done()
    reader.reads.set()

    assert await asked_later
    assert created.data.key_id in worker.directory


async def test_one_who_gives_up_takes_nobody_along(follower: LifecycleFollower) -> None:
    asking, giving_up = (asyncio.create_task(follower.is_caught_up()) for _ in range(2))
    await asyncio.sleep(0)

    giving_up.cancel()

    assert await asking


async def test_while_the_log_does_not_answer_nobody_can_tell(
    reader: SlowReader, follower: LifecycleFollower
) -> None:
    reader.fall_silent()

    assert not await follower.is_caught_up()


async def test_a_follower_that_lags_for_too_long_can_not_tell(
    log: MemoryLog, reader: SlowReader, follower: LifecycleFollower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle_follower, "PATIENCE_SECONDS", 0.05)
    reader.reads.clear()
    await append(log, a_key_created())

    assert not await follower.is_caught_up()
