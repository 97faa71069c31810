"""Whether a worker can answer, and whether what it depends on is there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from events.memory_log import MemoryLog
from services.api.directory.freshness import Freshness
from services.api.health import Health
from tests.fakes import ManualTime, MemoryReadModels
from tests.unit.api.workers import TOPIC

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ALL_IS_WELL = {"database": True, "kafka": True, "log": True, "directory": True}


class Watched:
    """The health of a worker whose follower has just caught up; its time and database do as the test says."""

    def __init__(self, folder: Path) -> None:
        self.time = ManualTime(NOW)
        self.read_models = MemoryReadModels(MemoryLog(), TOPIC)
        self.of_follower = Freshness(folder, self.time.boottime)
        self.of_follower.begin()
        self.of_follower.fresh_at(self.time.boottime())
        self.of_follower.answered_at(self.time.boottime())
        self.health = Health(Freshness(folder, self.time.boottime), self.read_models, 300)


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


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


async def test_a_log_that_the_follower_does_not_find_to_be_ours_is_told(watched: Watched) -> None:
    watched.of_follower.our_log(is_ours=False)
    assert await watched.health.checks() == {**ALL_IS_WELL, "log": False}

    watched.of_follower.our_log(is_ours=True)
    assert await watched.health.checks() == ALL_IS_WELL
