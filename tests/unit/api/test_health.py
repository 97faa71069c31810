"""Whether a worker can answer, and whether what it depends on is there."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest

from events.errors import LogLost, LogUnavailable, WrongLog
from events.log import Mark
from events.log_identity import LogIdentity
from events.log_marks import mark_of
from events.memory_log import MemoryLog
from services.api.health import Health
from services.api.read_models import KnownMarks
from tests.fakes import ManualTime, MemoryReadModels
from tests.unit.api.workers import TOPIC, build

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
OUR_LOG = LogIdentity("our cluster", "keys.lifecycle")
ALL_IS_WELL = {"database": True, "kafka": True, "log": True, "directory": True}


class Watched:
    """A service health whose time, log and database do as the test says."""

    def __init__(self, folder: Path) -> None:
        log = self.log = MemoryLog()
        self.time = ManualTime(NOW)
        self.read_models = MemoryReadModels(log, TOPIC, OUR_LOG)
        self.problem: Exception | None = None
        self.asked: list[LogIdentity | None] = []
        worker = build(folder, log.reader(TOPIC), log, self.time)
        worker.hasher.close()
        self.follower = worker.follower
        self.health = Health(self.follower, self.read_models, self._check_log, log.reader(TOPIC), 300)

    async def _check_log(self, known: LogIdentity | None) -> LogIdentity:
        self.asked.append(known)
        if self.problem is not None:
            raise self.problem
        return OUR_LOG


@pytest.fixture
async def watched(tmp_path: Path) -> Watched:
    watched = Watched(tmp_path)
    await watched.follower.start({})
    return watched


async def test_all_is_well_after_the_start(watched: Watched) -> None:
    assert not watched.health.is_stale
    assert await watched.health.checks() == ALL_IS_WELL


async def test_a_worker_is_stale_past_the_limit_and_not_before(watched: Watched) -> None:
    watched.time.pass_by(300)
    assert (await watched.health.checks())["directory"] is True

    watched.time.pass_by(0.001)
    assert watched.health.is_stale
    assert (await watched.health.checks())["directory"] is False


async def test_a_log_silent_for_three_seconds_is_away(watched: Watched) -> None:
    watched.time.pass_by(2.9)
    assert (await watched.health.checks())["kafka"] is True

    watched.time.pass_by(0.1)
    assert await watched.health.checks() == {**ALL_IS_WELL, "kafka": False}


async def test_a_database_that_does_not_answer_is_away(watched: Watched) -> None:
    watched.read_models.is_away = True

    assert await watched.health.checks() == {**ALL_IS_WELL, "database": False}


async def test_the_log_must_be_that_of_the_cluster_that_the_database_knows(watched: Watched) -> None:
    await watched.health.check()
    watched.read_models.is_away = True
    await watched.health.check()

    assert watched.asked == [OUR_LOG, None]


async def test_another_log_is_told_once_and_until_it_is_ours_again(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.problem = WrongLog("retention of a week")
    await watched.health.check()
    await watched.health.check()

    assert await watched.health.checks() == {**ALL_IS_WELL, "log": False}
    assert [record.levelno for record in caplog.records] == [logging.CRITICAL]
    assert "retention of a week" in caplog.text

    watched.problem = None
    await watched.health.check()
    assert await watched.health.checks() == ALL_IS_WELL


async def test_lost_records_end_whoever_follows_the_log(watched: Watched) -> None:
    await watched.log.append(TOPIC.name, b"key", b"value")
    marks = [Mark(TOPIC.name, partition, 0, 1_000, 1) for partition in range(TOPIC.partitions)]
    watched.read_models.marks = KnownMarks(marks)
    with pytest.raises(LogLost, match=f"{TOPIC.name}/0 has lost records"):
        await watched.health.check()


async def test_a_log_that_holds_what_was_read_is_ours(watched: Watched) -> None:
    await watched.log.append(TOPIC.name, b"key", b"value")
    reader = watched.log.reader(TOPIC)
    await reader.begin({})
    (record,) = await reader.read()
    watched.read_models.marks = KnownMarks([mark_of(record)])
    await watched.health.check()
    assert await watched.health.checks() == ALL_IS_WELL


async def test_a_refusal_that_the_projector_has_noted_is_ours_too(watched: Watched) -> None:
    watched.read_models.marks = KnownMarks(refusals=["keys.lifecycle/3 has lost records"])
    with pytest.raises(LogLost, match="has lost records"):
        await watched.health.check()


async def test_no_answer_leaves_what_was_known_before(watched: Watched) -> None:
    watched.problem = LogUnavailable("no answer")
    await watched.health.check()
    assert (await watched.health.checks())["log"] is True

    watched.problem = WrongLog("retention of a week")
    await watched.health.check()
    watched.problem = LogUnavailable("no answer")
    await watched.health.check()
    assert (await watched.health.checks())["log"] is False
