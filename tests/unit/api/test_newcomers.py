"""Ids of no key are told from those of keys that another node has just created."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest

from events.log import LogReader, Record
from events.memory_log import MemoryLog
from services.api import newcomers
from services.api.newcomers import Newcomers
from tests.builders import a_key_created, fresh_id
from tests.fakes import UnsteadyReader
from tests.unit.api.workers import TOPIC, Worker, append, build, following

pytestmark = pytest.mark.anyio


class SlowReader(UnsteadyReader):
    """Says where the log ends, and returns records only when told."""

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
        self.questions += 1
        return await super().end_offsets(timeout_seconds)


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def reader(log: MemoryLog) -> SlowReader:
    """What the follower reads."""
    return SlowReader(log.reader(TOPIC))


@pytest.fixture
def asked(log: MemoryLog) -> SlowReader:
    """What newcomers ask; the follower has questions of its own."""
    return SlowReader(log.reader(TOPIC))


@pytest.fixture
async def worker(log: MemoryLog, reader: SlowReader, tmp_path: Path) -> AsyncIterator[Worker]:
    async with following(build(tmp_path, reader, log)) as worker:
        yield worker
        reader.reads.set()


@pytest.fixture
def subject(asked: SlowReader, worker: Worker) -> Newcomers:
    return Newcomers(asked, worker.follower, worker.directory)


async def test_a_known_key_is_known_without_asking(
    log: MemoryLog, asked: SlowReader, worker: Worker, subject: Newcomers
) -> None:
    event = a_key_created()
    await append(log, event)
    assert await subject.knows(event.data.key_id)
    asked.questions = 0

    assert await subject.knows(event.data.key_id)

    assert asked.questions == 0


async def test_an_id_of_no_key_is_told_once_all_of_the_log_is_applied(subject: Newcomers) -> None:
    assert await subject.knows(fresh_id()) is False


async def test_a_key_is_known_although_its_record_is_still_on_its_way(
    log: MemoryLog, reader: SlowReader, worker: Worker, subject: Newcomers
) -> None:
    assert await subject.knows(fresh_id()) is False
    event = a_key_created()
    reader.reads.clear()
    await append(log, event)

    asking = asyncio.create_task(subject.knows(event.data.key_id))
    await asyncio.wait([asking], timeout=0.15)
    assert not asking.done()
    assert event.data.key_id not in worker.directory
    reader.reads.set()

    assert await asking is True


async def test_a_flood_of_made_up_ids_shares_one_question(asked: SlowReader, subject: Newcomers) -> None:
    flood = []
    for _ in range(100):
        flood.append(asyncio.create_task(subject.knows(fresh_id())))
        await asyncio.sleep(0)

    assert await asyncio.gather(*flood) == [False] * 100
    assert asked.questions == 1


async def test_one_who_gives_up_takes_nobody_along(subject: Newcomers) -> None:
    asking, giving_up = (asyncio.create_task(subject.knows(fresh_id())) for _ in range(2))
    await asyncio.sleep(0)

    giving_up.cancel()

    assert await asking is False


async def test_while_the_log_does_not_answer_nobody_can_tell(asked: SlowReader, subject: Newcomers) -> None:
    asked.fall_silent()

    assert await subject.knows(fresh_id()) is None


async def test_a_worker_that_lags_for_too_long_can_not_tell(
    log: MemoryLog, reader: SlowReader, subject: Newcomers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(newcomers, "PATIENCE_SECONDS", 0.05)
    reader.reads.clear()
    await append(log, a_key_created())

    assert await subject.knows(fresh_id()) is None
