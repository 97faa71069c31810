"""From a snapshot, or from nothing, to all that the log says; and how old that is."""

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
from events.log import LogReader, Record
from events.memory_log import MemoryLog
from services.api.metrics import exposition
from tests.builders import a_key_created, a_key_revoked, a_key_rotated
from tests.fakes import ManualTime, MemoryReadModels, UnsteadyReader
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
    facts: list[object] = [len(worker.directory), worker.directory.parked_count]
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
        assert worker.directory.parked_count == 1
        assert dict(worker.follower.applied) == dict(await log.reader(TOPIC).end_offsets())


async def test_a_start_from_a_snapshot_equals_a_full_replay_wherever_it_was_taken(
    log: MemoryLog, tmp_path: Path
) -> None:
    histories = some_histories()
    read_models = MemoryReadModels(log, TOPIC)
    started: list[tuple[Worker, Mapping[int, int]]] = []
    for position in range(4):
        worker = build(tmp_path / str(position), log.reader(TOPIC), log)
        started.append((worker, await read_models.fill(worker.directory)))
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
    positions = await MemoryReadModels(log, TOPIC).fill(worker.directory)

    async with following(worker, positions):
        assert b"hokusai_api_events_applied_total 0.0" in exposition(worker.node, worker.clock)
        assert b"hokusai_api_events_ignored_total 1.0" in exposition(worker.node, worker.clock)


@pytest.mark.parametrize("position", [1, 7])
async def test_a_snapshot_of_more_than_the_log_holds_is_refused(
    log: MemoryLog, tmp_path: Path, position: int
) -> None:
    worker = build(tmp_path, log.reader(TOPIC), log)

    with pytest.raises(WrongLog):
        await worker.follower.start({0: position})

    worker.hasher.close()


async def test_a_worker_takes_no_seat_before_it_has_caught_up(log: MemoryLog, tmp_path: Path) -> None:
    """Writers would have to wait for its whole replay."""
    await append(log, a_key_created())
    reader = DeafReader(log.reader(TOPIC))
    worker = build(tmp_path, reader, log)
    starting = asyncio.create_task(worker.follower.start({}))
    await eventually(lambda: reader.is_waited_for)

    assert not list(worker.node.living())
    reader.speak()
    await asyncio.wait_for(starting, 5)

    assert len(list(worker.node.living())) == 1
    worker.hasher.close()


async def test_a_worker_answers_only_after_all_that_came_before_its_seat(
    log: MemoryLog, tmp_path: Path
) -> None:
    """Writers did not wait for it yet, so what they have answered must be known here."""
    created = a_key_created()
    worker = build(tmp_path, GrowingReader(log, a_key_created(), created), log)

    await worker.follower.start({})

    assert created.data.key_id in worker.directory
    worker.hasher.close()


async def test_events_take_effect_as_they_come(log: MemoryLog, tmp_path: Path) -> None:
    created = a_key_created()
    async with following(build(tmp_path, log.reader(TOPIC), log)) as worker:
        await append(log, created)
        await eventually(lambda: created.data.key_id in worker.directory)

        await append(log, a_key_revoked(created))
        await caught_up(worker, log)

        assert worker.directory.key(created.data.key_id).revoked_at is not None


async def test_whoever_expects_an_event_learns_what_became_of_it(log: MemoryLog, tmp_path: Path) -> None:
    created = a_key_created()
    winner, loser = a_key_rotated(created), a_key_revoked(created)
    async with following(build(tmp_path, log.reader(TOPIC), log)) as worker:
        expected = [worker.follower.expect(event.id) for event in (created, winner, loser)]

        await append(log, created, winner, loser)

        folded = [await asyncio.wait_for(future, 5) for future in expected]
        assert [one.description for one in folded] == ["applied", "applied", "stale sequence"]


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
        assert b"hokusai_api_parked_lineages 1.0" in exposition(worker.node, worker.clock)
        assert b"hokusai_api_records_unreadable_total 1.0" in exposition(worker.node, worker.clock)
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
        assert worker.directory.parked_count == 0
        assert b"hokusai_api_records_unreadable_total 3.0" in exposition(worker.node, worker.clock)


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
    positions = await MemoryReadModels(log, TOPIC).fill(worker.directory)
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
        assert b"hokusai_api_clock_raised_seconds_total 10800.0" in exposition(worker.node, worker.clock)


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
        assert b"hokusai_api_append_times_doubted_total 1.0" in exposition(worker.node, worker.clock)


async def test_a_time_that_a_client_gave_a_record_moves_no_clock(tmp_path: Path) -> None:
    """The topic was configured as CreateTime: what stands there is no broker's word."""
    time, later = ManualTime(NOW), NOW + timedelta(minutes=4)
    log = MemoryLog(seconds=later.timestamp, timestamp_type=0)
    await append(log, a_key_created(time=later))
    async with following(build(tmp_path, log.reader(TOPIC), log, time)) as worker:
        await append(log, a_key_created(time=later))
        await caught_up(worker, log)

        assert worker.clock.now() == NOW


# Staleness


async def test_a_worker_in_touch_with_the_log_is_fresh(
    log: MemoryLog, tmp_path: Path, quick_questions: None
) -> None:
    time = ManualTime(NOW)
    async with following(build(tmp_path, log.reader(TOPIC), log, time)) as worker:
        assert worker.follower.staleness_seconds == 0
        time.pass_by(10)
        await eventually(lambda: worker.follower.staleness_seconds == 0)
        assert worker.follower.silence_seconds == 0


async def test_staleness_grows_while_the_log_is_silent_and_ends_with_the_silence(
    log: MemoryLog, tmp_path: Path, quick_questions: None
) -> None:
    time = ManualTime(NOW)
    reader = UnsteadyReader(log.reader(TOPIC))
    async with following(build(tmp_path, reader, log, time)) as worker:
        reader.fall_silent()
        await eventually(lambda: reader.unanswered > 0)
        time.pass_by(400)
        asked_before = reader.unanswered
        await eventually(lambda: reader.unanswered > asked_before)

        assert worker.follower.staleness_seconds == 400
        assert worker.follower.silence_seconds == 400

        reader.speak()
        await eventually(lambda: worker.follower.staleness_seconds == 0)
        assert worker.follower.silence_seconds == 0


async def test_an_answer_that_is_not_reached_yet_makes_nothing_fresher(
    log: MemoryLog, tmp_path: Path, quick_questions: None
) -> None:
    """The log says where it ends, and the follower is behind that: on one partition is enough."""
    time = ManualTime(NOW)
    reader = DeafReader(log.reader(TOPIC))
    async with following(build(tmp_path, reader, log, time)) as worker:
        await append(log, a_key_created())
        time.pass_by(30)
        await eventually(lambda: worker.follower.silence_seconds == 0)
        assert worker.follower.staleness_seconds == 30

        time.pass_by(30)
        reader.speak()

        await eventually(lambda: worker.follower.staleness_seconds == 0)


async def test_a_log_that_turns_out_to_be_another_ends_the_follower(log: MemoryLog, tmp_path: Path) -> None:
    worker = build(tmp_path, BrokenReader(log.reader(TOPIC)), log)
    await worker.follower.start({})

    with pytest.raises(WrongLog):
        await asyncio.wait_for(worker.follower.run(), 5)

    worker.hasher.close()


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
        await worker.follower.start({})

    worker.hasher.close()
    assert not list(worker.node.living())


@pytest.fixture
def quick_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is asked where it ends as often as the loop allows; the manual clock stands still."""
    monkeypatch.setattr("services.api.follower.ASK_SECONDS", 0.0)


class DeafReader(UnsteadyReader):
    """Answers where the log ends, and reads nothing until it may speak."""

    def __init__(self, reader: LogReader) -> None:
        super().__init__(reader)
        self.is_waited_for = False
        self.fall_silent()

    async def read(self, max_records: int = 5000, timeout_seconds: float = 1.0) -> Sequence[Record]:
        self.is_waited_for = True
        return await super().read(max_records, timeout_seconds)

    async def end_offsets(self, timeout_seconds: float = 5.0) -> Mapping[int, int]:
        return await self._reader.end_offsets(timeout_seconds)


class GrowingReader(UnsteadyReader):
    """Whenever it has been asked where the log ends, somebody appends the next of these events."""

    def __init__(self, log: MemoryLog, *events: KeyEvent) -> None:
        super().__init__(log.reader(TOPIC))
        self._log = log
        self._events = list(events)

    async def end_offsets(self, timeout_seconds: float = 5.0) -> Mapping[int, int]:
        ends = await super().end_offsets(timeout_seconds)
        if self._events:
            await append(self._log, self._events.pop())
        return ends


class BrokenReader(UnsteadyReader):
    """Finds out that the log is another one than it was."""

    async def read(self, max_records: int = 5000, timeout_seconds: float = 1.0) -> Sequence[Record]:
        raise WrongLog("its head was deleted")


class RefusedReader(UnsteadyReader):
    """Is answered with errors, as often as told."""

    refusals_left = 0

    async def read(self, max_records: int = 5000, timeout_seconds: float = 1.0) -> Sequence[Record]:
        if self.refusals_left:
            self.refusals_left -= 1
            raise LogUnavailable("not authorized")
        return await super().read(max_records, 0.01)


class MarkedReader(UnsteadyReader):
    """Passes the mark of a foreign transaction at the end of a partition: it moves on without a record."""

    has_mark = False

    async def end_offsets(self, timeout_seconds: float = 5.0) -> Mapping[int, int]:
        return self._past_the_mark(await super().end_offsets(timeout_seconds))

    def positions(self) -> Mapping[int, int]:
        return self._past_the_mark(super().positions())

    def _past_the_mark(self, offsets: Mapping[int, int]) -> Mapping[int, int]:
        return {partition: offset + self.has_mark for partition, offset in offsets.items()}


async def test_the_mark_of_a_transaction_makes_nobody_stale(log: MemoryLog, tmp_path: Path) -> None:
    time = ManualTime(NOW)
    reader = MarkedReader(log.reader(TOPIC))
    async with following(build(tmp_path, reader, log, time)) as worker:
        reader.has_mark = True
        time.pass_by(20)
        await eventually(lambda: worker.follower.staleness_seconds < 1)
