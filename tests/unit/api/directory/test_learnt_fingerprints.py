"""What bcrypt has told is kept in the store at once, and told to the log until that has it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from events.keys import KeyCreated, KeyRefingerprinted
from events.memory_log import MemoryLog
from services.api.directory import learnt_fingerprints
from services.api.directory.learnt_fingerprints import LearntFingerprints
from tests.builders import a_key_created, a_key_revoked, a_key_rotated, a_refingerprinting, fresh_id
from tests.fakes import ManualTime, UnsteadyLog
from tests.unit.api.workers import (
    TOPIC,
    Worker,
    a_worker,
    append,
    caught_up,
    events_in,
    eventually,
)

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def appends(log: MemoryLog) -> UnsteadyLog:
    return UnsteadyLog(log)


@pytest.fixture
async def worker(log: MemoryLog, tmp_path: Path) -> AsyncIterator[Worker]:
    async with a_worker(log, tmp_path) as worker:
        yield worker


@pytest.fixture
def _again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learnt_fingerprints, "AGAIN_SECONDS", 0.005)


def fingerprint_of_today(created: KeyCreated) -> str:
    return hashlib.blake2b(created.data.key_id.encode(), digest_size=32, key=b"today").hexdigest()


def learning(worker: Worker, log: UnsteadyLog) -> LearntFingerprints:
    return LearntFingerprints(
        worker.store,
        worker.writer,
        log,
        TOPIC.name,
        worker.fingerprints.newest_id,
        "urn:hokusai:test",
        ManualTime(NOW).clock(),
    )


@asynccontextmanager
async def at_work(learnt: LearntFingerprints) -> AsyncIterator[LearntFingerprints]:
    task = asyncio.create_task(learnt.run())
    for _ in range(5):  # it waits for news, or has begun to tell
        await asyncio.sleep(0)
    try:
        yield learnt
    finally:
        task.cancel()
        await asyncio.wait([task])


async def a_retired_key(log: MemoryLog, worker: Worker) -> KeyCreated:
    created = a_key_created(pepper_id="retired")
    await append(log, created)
    await caught_up(worker, log)
    return created


async def told(log: MemoryLog) -> list[KeyRefingerprinted]:
    return [event for event in await events_in(log) if isinstance(event, KeyRefingerprinted)]


def waiting(worker: Worker) -> int:
    """How many the log does not have yet."""
    entries: int = worker.store.read(lambda snapshot: snapshot.stat(worker.store.learnt)["entries"])
    return entries


async def test_it_is_found_at_once_told_to_the_log_and_forgotten_when_that_has_it(
    log: MemoryLog, appends: UnsteadyLog, worker: Worker
) -> None:
    created = await a_retired_key(log, worker)
    fingerprint = fingerprint_of_today(created)
    async with at_work(learning(worker, appends)) as learnt:
        assert await learnt.learn(created.data.key_id, fingerprint)
        known = worker.directory.find(bytes.fromhex(fingerprint))
        assert known is not None
        assert known.key_id == created.data.key_id
        assert waiting(worker) == 1
        await eventually(lambda: waiting(worker) == 0)

    (event,) = await told(log)
    assert (event.data.key_id, event.data.fingerprint) == (created.data.key_id, fingerprint)
    assert event.data.pepper_id == worker.fingerprints.newest_id
    assert (event.partitionkey, event.sequence, event.time) == (created.partitionkey, 2, NOW)
    found = worker.directory.find(bytes.fromhex(fingerprint))
    assert found is not None
    assert found.key_id == created.data.key_id
    assert worker.store.counts()[2] == 0


async def test_another_node_and_a_store_that_is_filled_anew_know_it_from_the_log(
    log: MemoryLog, appends: UnsteadyLog, worker: Worker, tmp_path: Path
) -> None:
    created = await a_retired_key(log, worker)
    async with at_work(learning(worker, appends)) as learnt:
        await learnt.learn(created.data.key_id, fingerprint_of_today(created))
        await eventually(lambda: waiting(worker) == 0)

    async with a_worker(log, tmp_path / "another node") as other:
        assert other.directory.find(bytes.fromhex(fingerprint_of_today(created))) is not None
        assert other.store.counts() == (1, 0, 0)


@pytest.mark.usefixtures("_again_at_once")
async def test_it_is_told_again_when_its_event_has_lost_its_place(
    log: MemoryLog, appends: UnsteadyLog, worker: Worker
) -> None:
    """Another node has changed the lineage at the same moment."""
    created = await a_retired_key(log, worker)
    appends.hold()
    async with at_work(learning(worker, appends)) as learnt:
        await learnt.learn(created.data.key_id, fingerprint_of_today(created))
        await eventually(lambda: appends.attempts == 1)
        await append(log, a_key_rotated(created, valid_until=NOW.replace(year=2036)))
        appends.let_through()
        await eventually(lambda: waiting(worker) == 0)

    events = await told(log)
    assert events[0].sequence == 2
    assert events[-1].sequence == 3
    lineage = worker.directory.lineage(created.partitionkey)
    assert lineage is not None
    assert lineage.parked is None
    assert worker.directory.find(bytes.fromhex(fingerprint_of_today(created))) is not None


@pytest.mark.usefixtures("_again_at_once")
async def test_while_the_log_is_away_it_waits_in_the_store(
    log: MemoryLog, appends: UnsteadyLog, worker: Worker
) -> None:
    created = await a_retired_key(log, worker)
    appends.is_away = True
    async with at_work(learning(worker, appends)) as learnt:
        await learnt.learn(created.data.key_id, fingerprint_of_today(created))
        await eventually(lambda: appends.attempts > 2)
    assert waiting(worker) == 1

    appends.is_away = False
    async with at_work(learning(worker, appends)):  # as after a restart: nobody has to learn it anew
        await eventually(lambda: waiting(worker) == 0)
    assert len(await told(log)) == 1


@pytest.mark.usefixtures("_again_at_once")
async def test_what_the_log_has_already_is_not_told_to_it(
    log: MemoryLog, appends: UnsteadyLog, worker: Worker
) -> None:
    """Another node was quicker, while bcrypt was still at it here. It would be told for ever."""
    created = await a_retired_key(log, worker)
    fingerprint, pepper_id = fingerprint_of_today(created), worker.fingerprints.newest_id
    await append(log, a_refingerprinting(created, fingerprint=fingerprint, pepper_id=pepper_id))
    await caught_up(worker, log)

    async with at_work(learning(worker, appends)) as learnt:
        await learnt.learn(created.data.key_id, fingerprint)
        await asyncio.sleep(0.03)

    assert appends.attempts == 0
    assert waiting(worker) == 0
    assert worker.directory.find(bytes.fromhex(fingerprint)) is not None


@pytest.mark.usefixtures("_again_at_once")
async def test_a_parked_lineage_and_an_unknown_key_are_told_nothing(
    log: MemoryLog, appends: UnsteadyLog, worker: Worker
) -> None:
    created = await a_retired_key(log, worker)
    await append(log, a_key_revoked(created, sequence=9))
    await caught_up(worker, log)

    async with at_work(learning(worker, appends)) as learnt:
        await learnt.learn(created.data.key_id, fingerprint_of_today(created))
        await learnt.learn(fresh_id(), fingerprint_of_today(created))
        await asyncio.sleep(0.03)

    assert appends.attempts == 0
