"""A worker over an unsteady log, and two nodes that race."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from events.memory_log import MemoryLog
from tests.fakes import ManualTime, UnsteadyLog
from tests.unit.api.commands.worlds import NOW, Race
from tests.unit.api.workers import Worker, a_worker


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog(seconds=NOW.timestamp)


@pytest.fixture
def unsteady(log: MemoryLog) -> UnsteadyLog:
    return UnsteadyLog(log)


@pytest.fixture
def time() -> ManualTime:
    return ManualTime(NOW)


@pytest.fixture
async def worker(
    log: MemoryLog, unsteady: UnsteadyLog, time: ManualTime, tmp_path: Path
) -> AsyncIterator[Worker]:
    async with a_worker(log, tmp_path / "node", time, through=unsteady) as worker:
        yield worker


@pytest.fixture
async def race(log: MemoryLog, time: ManualTime, tmp_path: Path) -> AsyncIterator[Race]:
    logs = UnsteadyLog(log), UnsteadyLog(log)
    async with (
        a_worker(log, tmp_path / "one", time, through=logs[0]) as one,
        a_worker(log, tmp_path / "two", time, through=logs[1]) as two,
    ):
        yield Race(one, two, logs, log)
