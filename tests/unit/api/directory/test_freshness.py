"""How old it is what a node knows of the log."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path

import pytest

from events.memory_log import MemoryLog
from services.api.directory.freshness import FILE, Freshness
from tests.builders import a_key_created
from tests.fakes import ManualTime, UnsteadyReader
from tests.unit.api.directory.readers import DeafReader, MarkedReader
from tests.unit.api.workers import TOPIC, append, build, eventually, following

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog(seconds=NOW.timestamp)


@pytest.fixture(autouse=True)
def _quick_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is asked where it ends as often as the loop allows; the manual clock stands still."""
    monkeypatch.setattr("services.api.directory.lifecycle_follower.ASK_SECONDS", 0.0)


async def test_a_worker_in_touch_with_the_log_is_fresh(log: MemoryLog, tmp_path: Path) -> None:
    time = ManualTime(NOW)
    async with following(build(tmp_path, log.reader(TOPIC), log, time)) as worker:
        assert worker.freshness.staleness_seconds == 0
        time.pass_by(10)
        await eventually(lambda: worker.freshness.staleness_seconds == 0)
        assert worker.freshness.silence_seconds == 0


async def test_staleness_grows_while_the_log_is_silent_and_ends_with_the_silence(
    log: MemoryLog, tmp_path: Path
) -> None:
    time = ManualTime(NOW)
    reader = UnsteadyReader(log.reader(TOPIC))
    async with following(build(tmp_path, reader, log, time)) as worker:
        reader.fall_silent()
        await eventually(lambda: reader.unanswered > 0)
        time.pass_by(400)
        asked_before = reader.unanswered
        await eventually(lambda: reader.unanswered > asked_before)

        assert worker.freshness.staleness_seconds == 400
        assert worker.freshness.silence_seconds == 400

        reader.speak()
        await eventually(lambda: worker.freshness.staleness_seconds == 0)
        assert worker.freshness.silence_seconds == 0


async def test_an_answer_that_is_not_reached_yet_makes_nothing_fresher(
    log: MemoryLog, tmp_path: Path
) -> None:
    """The log says where it ends, and the follower is behind that: on one partition is enough."""
    time = ManualTime(NOW)
    reader = DeafReader(log.reader(TOPIC))
    async with following(build(tmp_path, reader, log, time)) as worker:
        await append(log, a_key_created())
        time.pass_by(30)
        await eventually(lambda: worker.freshness.silence_seconds == 0)
        assert worker.freshness.staleness_seconds == 30

        time.pass_by(30)
        reader.speak()

        await eventually(lambda: worker.freshness.staleness_seconds == 0)


async def test_the_mark_of_a_transaction_makes_nobody_stale(log: MemoryLog, tmp_path: Path) -> None:
    time = ManualTime(NOW)
    reader = MarkedReader(log.reader(TOPIC))
    async with following(build(tmp_path, reader, log, time)) as worker:
        reader.has_mark = True
        time.pass_by(20)
        await eventually(lambda: worker.freshness.staleness_seconds < 1)


def test_how_fresh_it_is_lasts_through_a_restart(tmp_path: Path) -> None:
    """While the machine runs: these are times since it was started."""
    time = ManualTime(NOW)
    before = Freshness(tmp_path, time.boottime)
    before.begin()
    before.fresh_at(time.boottime())
    before.answered_at(time.boottime())
    before.ready()
    time.pass_by(100)

    after = Freshness(tmp_path, time.boottime)
    after.begin()

    assert (after.staleness_seconds, after.silence_seconds) == (100, 100)
    assert not after.is_ready


def test_nothing_is_fresh_that_nobody_has_confirmed(tmp_path: Path) -> None:
    time = ManualTime(NOW)
    freshness = Freshness(tmp_path, time.boottime)
    assert freshness.staleness_seconds == math.inf
    assert freshness.silence_seconds == time.boottime()

    freshness.fresh_at(time.boottime())
    freshness.answered_at(time.boottime())
    freshness.forget()

    assert freshness.staleness_seconds == math.inf
    assert freshness.silence_seconds == time.boottime()


def test_every_process_of_the_node_sees_the_same(tmp_path: Path) -> None:
    time = ManualTime(NOW)
    follower, worker = Freshness(tmp_path, time.boottime), Freshness(tmp_path, time.boottime)

    follower.begin()
    follower.ready()
    follower.fresh_at(900.5)
    follower.answered_at(950.25)

    assert (worker.is_ready, worker.is_our_log) == (True, True)
    assert (worker.staleness_seconds, worker.silence_seconds) == (99.5, 49.75)
    follower.our_log(is_ours=False)
    assert not worker.is_our_log
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_a_time_that_is_still_to_come_makes_nothing_fresh(tmp_path: Path) -> None:
    """The machine was started anew since it was written."""
    time = ManualTime(NOW)
    freshness = Freshness(tmp_path, time.boottime)
    freshness.fresh_at(time.boottime() + 1)
    assert freshness.staleness_seconds == math.inf
