"""From a snapshot, or from nothing, to all that the log says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from events.codec import encode
from events.errors import LogUnavailable, WrongLog
from events.keys import KeyEvent
from events.memory_log import MemoryLog
from tests.builders import a_key_created, a_key_revoked, a_key_rotated
from tests.fakes import MemoryReadModels, UnsteadyReader
from tests.unit.api.directory.readers import BrokenReader, GrowingReader, RefusedReader
from tests.unit.api.workers import TOPIC, Worker, append, build, caught_up, eventually, following, known_key

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog(seconds=NOW.timestamp)


def some_histories() -> list[Sequence[KeyEvent]]:
    """A living key, a rotated, a revoked, a parked one, and one whose race was lost."""
    living, rotated, revoked, parked, raced = (a_key_created() for _ in range(5))
    return [
        [living],
        [rotated, a_key_rotated(rotated, valid_until=NOW + timedelta(days=1))],
        [revoked, a_key_revoked(revoked)],
        [parked, a_key_rotated(parked, sequence=3)],
        [raced, a_key_rotated(raced), a_key_revoked(raced, sequence=2)],
    ]


def knowledge(worker: Worker, histories: Sequence[Sequence[KeyEvent]]) -> list[object]:
    """All that a directory says of these lineages and their keys."""
    facts: list[object] = [len(worker.directory), worker.store.counts()[1]]
    for events in histories:
        lineage = worker.directory.lineage(events[0].partitionkey)
        assert lineage is not None
        facts.append(lineage)
        for key in lineage.keys:
            known = known_key(worker.directory, key.key_id)
            facts.append((worker.directory.key(key.key_id), known.active_until, known.expires_at, known.body))
    return facts


async def test_a_start_from_nothing_replays_the_whole_log(log: MemoryLog, tmp_path: Path) -> None:
    histories = some_histories()
    for events in histories:
        await append(log, *events)

    async with following(build(tmp_path, log.reader(TOPIC), log)) as worker:
        assert len(worker.directory) == 7
        assert worker.store.counts()[1] == 1
        assert dict(worker.applied) == dict(await log.reader(TOPIC).end_offsets())


async def test_a_start_from_a_snapshot_equals_a_full_replay_wherever_it_was_taken(
    log: MemoryLog, tmp_path: Path
) -> None:
    histories = some_histories()
    read_models = MemoryReadModels(log, TOPIC)
    started: list[tuple[Worker, Mapping[int, int]]] = []
    for position in range(4):
        worker = build(tmp_path / str(position), log.reader(TOPIC), log)
        started.append((worker, await read_models.fill(worker.writer)))
        for events in histories:
            await append(log, *events[position : position + 1])

    async with following(build(tmp_path / "replay", log.reader(TOPIC), log)) as replay:
        for worker, positions in started:
            async with following(worker, positions):
                assert knowledge(worker, histories) == knowledge(replay, histories)


async def test_a_start_from_a_snapshot_reads_no_more_than_the_last_record_again(
    log: MemoryLog, tmp_path: Path
) -> None:
    created = a_key_created()
    await append(log, created, a_key_rotated(created))
    worker = build(tmp_path, log.reader(TOPIC), log)
    positions = await MemoryReadModels(log, TOPIC).fill(worker.writer)

    async with following(worker, positions):
        assert b"hokusai_api_events_applied_total 0.0" in worker.exposition()
        assert b"hokusai_api_events_ignored_total 1.0" in worker.exposition()


@pytest.mark.parametrize("position", [1, 7])
async def test_a_snapshot_of_more_than_the_log_holds_is_refused(
    log: MemoryLog, tmp_path: Path, position: int
) -> None:
    worker = build(tmp_path, log.reader(TOPIC), log)
    worker.writer.set_positions({0: position})

    with pytest.raises(WrongLog):
        await worker.follower.start()

    worker.close()


async def test_a_start_ends_only_once_the_store_has_all_that_was_answered_before(
    log: MemoryLog, tmp_path: Path
) -> None:
    """Workers answer from then on: what other nodes have answered meanwhile must be known here."""
    created = a_key_created()
    worker = build(tmp_path, GrowingReader(log, a_key_created(), created), log)

    await worker.follower.start()

    assert created.data.key_id in worker.directory
    worker.close()


async def test_events_take_effect_as_they_come(log: MemoryLog, tmp_path: Path) -> None:
    created = a_key_created()
    async with following(build(tmp_path, log.reader(TOPIC), log)) as worker:
        await append(log, created)
        await eventually(lambda: created.data.key_id in worker.directory)

        await append(log, a_key_revoked(created))
        await caught_up(worker, log)

        key = worker.directory.key(created.data.key_id)
        assert key is not None
        assert key.revoked_at is not None


async def test_a_parked_lineage_is_logged_with_its_place_and_counted(
    log: MemoryLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    created, other = a_key_created(), a_key_created()
    async with following(build(tmp_path, log.reader(TOPIC), log)) as worker:
        await append(log, created, other)
        position = await log.append(TOPIC.name, created.partitionkey.encode(), b'{"type": "future.v9"}')
        await append(log, a_key_revoked(created))
        await caught_up(worker, log)

        lineage = worker.directory.lineage(created.partitionkey)
        assert lineage is not None
        assert lineage.parked is not None
        known = known_key(worker.directory, other.data.key_id)
        assert known.active_until == float("inf")
        assert b"hokusai_api_parked_lineages 1.0" in worker.exposition()
        assert b"hokusai_api_records_unreadable_total 1.0" in worker.exposition()
    (message,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert f"keys.lifecycle[{position.partition}] at offset {position.offset}" in message
    assert "future.v9" not in message


async def test_a_record_that_belongs_to_nobody_is_passed_over(
    log: MemoryLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    created = a_key_created()
    async with following(build(tmp_path, log.reader(TOPIC), log)) as worker:
        await log.append(TOPIC.name, None, encode(created))
        await log.append(TOPIC.name, b"\xff", b"\xff")
        await log.append(TOPIC.name, b"nobody", None)
        await append(log, created)
        await caught_up(worker, log)

        assert len(worker.directory) == 1
        assert worker.store.counts()[1] == 0
        assert b"hokusai_api_records_unreadable_total 3.0" in worker.exposition()


async def test_a_log_that_turns_out_to_be_another_ends_the_follower(log: MemoryLog, tmp_path: Path) -> None:
    worker = build(tmp_path, BrokenReader(log.reader(TOPIC)), log)
    await worker.follower.start()

    with pytest.raises(WrongLog):
        await asyncio.wait_for(worker.follower.run(), 5)

    worker.close()


async def test_an_answer_that_is_no_record_is_waited_out(log: MemoryLog, tmp_path: Path) -> None:
    """A missing right, say: validation goes on, and staleness tells."""
    created = a_key_created()
    reader = RefusedReader(log.reader(TOPIC))
    async with following(build(tmp_path, reader, log)) as worker:
        reader.refusals_left = 2
        await append(log, created)

        await eventually(lambda: created.data.key_id in worker.directory)

    assert reader.refusals_left == 0


async def test_a_start_without_an_answer_from_the_log_is_told(log: MemoryLog, tmp_path: Path) -> None:
    reader = UnsteadyReader(log.reader(TOPIC))
    reader.fall_silent()
    worker = build(tmp_path, reader, log)

    with pytest.raises(LogUnavailable):
        await worker.follower.start()

    worker.close()
