"""Whether the log is still the one that the read models and the node's store were made from."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from events.errors import LogLost, LogUnavailable, WrongLog
from events.log import Mark
from events.log_identity import LogIdentity
from events.log_marks import mark_of
from events.memory_log import MemoryLog
from services.api.directory.freshness import Freshness
from services.api.log_watch import LogWatch
from services.api.read_models import KnownMarks
from tests.fakes import MemoryReadModels
from tests.unit.api.workers import TOPIC

pytestmark = pytest.mark.anyio

OUR_LOG = LogIdentity("our cluster", "keys.lifecycle")


class Watched:
    """A watch whose log and database do as the test says; workers read what it finds in `freshness`."""

    def __init__(self, folder: Path) -> None:
        log = self.log = MemoryLog()
        self.read_models = MemoryReadModels(log, TOPIC, OUR_LOG)
        self.problem: Exception | None = None
        self.asked: list[LogIdentity | None] = []
        self.freshness = Freshness(folder)
        self.freshness.begin()
        self.watch = LogWatch(self.read_models, self._check_log, log.reader(TOPIC), self.freshness)

    async def _check_log(self, known: LogIdentity | None) -> LogIdentity:
        self.asked.append(known)
        if self.problem is not None:
            raise self.problem
        return OUR_LOG


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


async def test_the_log_must_be_that_of_the_cluster_that_the_database_knows(watched: Watched) -> None:
    assert await watched.watch.confirm() == OUR_LOG
    watched.read_models.is_away = True
    await watched.watch.check()

    assert watched.asked == [OUR_LOG, None]


async def test_another_log_is_told_once_and_until_it_is_ours_again(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.problem = WrongLog("retention of a week")
    await watched.watch.check()
    await watched.watch.check()

    assert not watched.freshness.is_our_log
    assert [record.levelno for record in caplog.records] == [logging.CRITICAL]
    assert "retention of a week" in caplog.text

    watched.problem = None
    await watched.watch.check()
    assert watched.freshness.is_our_log


async def test_lost_records_end_whoever_follows_the_log(watched: Watched) -> None:
    await watched.log.append(TOPIC.name, b"key", b"value")
    marks = [Mark(TOPIC.name, partition, 0, 1_000, 1) for partition in range(TOPIC.partitions)]
    watched.read_models.marks = KnownMarks(marks)
    with pytest.raises(LogLost, match=f"{TOPIC.name}/0 has lost records"):
        await watched.watch.check()


async def test_a_log_that_holds_what_was_read_is_ours(watched: Watched) -> None:
    await watched.log.append(TOPIC.name, b"key", b"value")
    reader = watched.log.reader(TOPIC)
    await reader.begin({})
    (record,) = await reader.read()
    watched.read_models.marks = KnownMarks([mark_of(record)])

    await watched.watch.check()

    assert watched.freshness.is_our_log


async def test_a_refusal_that_the_projector_has_noted_is_ours_too(watched: Watched) -> None:
    watched.read_models.marks = KnownMarks(refusals=["keys.lifecycle/3 has lost records"])
    with pytest.raises(LogLost, match="has lost records"):
        await watched.watch.check()


async def test_no_answer_leaves_what_was_known_before(watched: Watched) -> None:
    watched.problem = LogUnavailable("no answer")
    await watched.watch.check()
    assert watched.freshness.is_our_log

    watched.problem = WrongLog("retention of a week")
    await watched.watch.check()
    watched.problem = LogUnavailable("no answer")
    await watched.watch.check()
    assert not watched.freshness.is_our_log
