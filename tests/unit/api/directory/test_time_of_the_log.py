"""What a follower learns of the time from the log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from events.memory_log import MemoryLog
from tests.builders import a_key_created
from tests.fakes import ManualTime, MemoryReadModels
from tests.unit.api.workers import TOPIC, append, build, caught_up, following

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


async def test_a_process_that_starts_under_a_slow_clock_lives_no_earlier_than_the_log(
    tmp_path: Path,
) -> None:
    log = MemoryLog(seconds=NOW.timestamp)
    created = a_key_created(time=NOW)
    await append(log, created)
    an_hour_slow = ManualTime(NOW - timedelta(hours=1))

    async with following(build(tmp_path / "replay", log.reader(TOPIC), log, an_hour_slow)) as worker:
        assert worker.clock.now() == NOW
    an_hour_slow = ManualTime(NOW - timedelta(hours=1))
    worker = build(tmp_path / "snapshot", log.reader(TOPIC), log, an_hour_slow)
    positions = await MemoryReadModels(log, TOPIC).fill(worker.writer)
    async with following(worker, positions):
        assert worker.clock.now() == NOW


async def test_a_process_that_follows_lives_no_earlier_than_the_log(tmp_path: Path) -> None:
    """Its host was suspended in a way that none of its clocks has noticed."""
    time, later = ManualTime(NOW), NOW + timedelta(hours=3)
    log = MemoryLog(seconds=later.timestamp)
    async with following(build(tmp_path, log.reader(TOPIC), log, time)) as worker:
        await append(log, a_key_created(time=later - timedelta(seconds=1)))
        await caught_up(worker, log)

        assert worker.clock.now() == later
        assert b"hokusai_api_clock_raised_seconds_total 10800.0" in worker.exposition()


@pytest.mark.parametrize("is_running", [True, False])
@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(days=9), timedelta(days=36500)])
async def test_a_broker_whose_clock_is_ahead_ends_no_key(
    tmp_path: Path, ahead: timedelta, is_running: bool
) -> None:
    time = ManualTime(NOW)
    log = MemoryLog(seconds=(NOW + ahead).timestamp)
    if not is_running:
        await append(log, a_key_created(time=NOW))
    async with following(build(tmp_path, log.reader(TOPIC), log, time)) as worker:
        if is_running:
            await append(log, a_key_created(time=NOW))
            await caught_up(worker, log)

        assert worker.clock.now() == NOW
        assert b"hokusai_api_append_times_doubted_total 1.0" in worker.exposition()


async def test_a_time_that_a_client_gave_a_record_moves_no_clock(tmp_path: Path) -> None:
    """The topic was configured as CreateTime: what stands there is no broker's word."""
    time, later = ManualTime(NOW), NOW + timedelta(minutes=4)
    log = MemoryLog(seconds=later.timestamp, timestamp_type=0)
    await append(log, a_key_created(time=later))
    async with following(build(tmp_path, log.reader(TOPIC), log, time)) as worker:
        await append(log, a_key_created(time=later))
        await caught_up(worker, log)

        assert worker.clock.now() == NOW
