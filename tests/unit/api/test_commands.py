"""Create, rotate, revoke, over a log in memory: the log decides, and every worker of the node knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from events.codec import decode
from events.keys import KeyCreated, KeyEvent, KeyRevoked, KeyRotated
from events.memory_log import MemoryLog
from services.api import commands
from services.api.commands import Issue
from services.api.errors import KeyNotFound, OutcomeUnknown, WriteConflict
from services.api.hashing import Hasher
from services.api.verdict import Verdict
from tests.builders import a_key_created, a_key_rotated, fresh_id
from tests.fakes import ManualTime, UnsteadyLog
from tests.unit.api.workers import (
    ADMIN,
    SETTINGS,
    TOPIC,
    Worker,
    a_worker,
    append,
    build,
    caught_up,
    eventually,
    following,
)

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NO_GRACE = timedelta()
ONE_DAY = timedelta(days=1)


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


async def events_in(log: MemoryLog) -> list[KeyEvent]:
    """All events of the topic, in the order of each lineage."""
    reader = log.reader(TOPIC)
    await reader.begin({})
    events = [decode(record.value) for record in await reader.read(timeout_seconds=0)]
    assert all(isinstance(event, KeyCreated | KeyRotated | KeyRevoked) for event in events)
    return events  # type: ignore[return-value]


async def verdicts(worker: Worker, *issues: Issue) -> list[Verdict]:
    return [await worker.validate(issue.secret) for issue in issues]


def sequence(worker: Worker, issue: Issue) -> int:
    """That of the last event that the worker has applied to the key's lineage."""
    lineage = worker.directory.lineage(issue.key.lineage_id)
    return lineage.sequence if lineage else 0


# Creating


async def test_a_created_key_passes_at_once(worker: Worker) -> None:
    issue = await worker.commands.create(SETTINGS, ADMIN)

    assert await worker.validate(issue.secret) is Verdict.VALID


async def test_creating_appends_one_event_that_says_who_asked(worker: Worker, log: MemoryLog) -> None:
    settings = replace(SETTINGS, scopes=("train",), allowed_ips=("10.0.0.0/8",), lifetime_days=30)

    issue = await worker.commands.create(settings, ADMIN)

    (event,) = await events_in(log)
    assert isinstance(event, KeyCreated)
    assert (event.actor, event.correlationid, event.sequence, event.time) == ("admin", "request-1", 1, NOW)
    assert event.subject == event.partitionkey == event.data.key_id == issue.key.key_id
    assert event.data.scopes == ("train",)
    assert event.data.expires_at == NOW + timedelta(days=30)
    assert issue.key.settings == settings


async def test_only_hashes_of_the_secret_are_stored(worker: Worker, log: MemoryLog) -> None:
    issue = await worker.commands.create(SETTINGS, ADMIN)

    (event,) = await events_in(log)
    assert isinstance(event, KeyCreated)
    assert bcrypt.checkpw(issue.secret.encode(), event.data.bcrypt_hash.encode())
    assert event.data.fingerprint == worker.fingerprints.newest(issue.secret.encode()).hex()
    assert issue.secret not in event.model_dump_json() + repr(event) + repr(issue) + repr(issue.key)
    assert event.data.key_prefix == issue.secret[:11] + "***"


@pytest.mark.parametrize(
    ("environment", "mark"),
    [("production", "hk_live_"), ("test", "hk_test_"), ("development", "hk_dev_")],
)
async def test_the_environment_is_part_of_the_key(worker: Worker, environment: str, mark: str) -> None:
    settings = replace(SETTINGS, environment=environment)  # type: ignore[arg-type]

    assert (await worker.commands.create(settings, ADMIN)).secret.startswith(mark)


# Rotating


async def test_a_rotation_kills_the_old_key_and_the_new_one_passes(worker: Worker) -> None:
    old = await worker.commands.create(SETTINGS, ADMIN)

    new = await worker.commands.rotate(old.key.key_id, NO_GRACE, ADMIN)

    assert await verdicts(worker, old, new) == [Verdict.INACTIVE, Verdict.VALID]
    assert new.key.key_id != old.key.key_id
    assert new.key.lineage_id == old.key.lineage_id


async def test_a_rotation_keeps_the_settings_and_starts_the_life_anew(
    worker: Worker, time: ManualTime
) -> None:
    settings = replace(SETTINGS, environment="test", scopes=("train",), lifetime_days=30)
    old = await worker.commands.create(settings, ADMIN)
    time.pass_by(40 * 86400)
    assert await worker.validate(old.secret) is Verdict.EXPIRED

    new = await worker.commands.rotate(old.key.key_id, NO_GRACE, ADMIN)

    assert new.key.settings == settings
    assert new.key.expires_at == NOW + timedelta(days=70)
    assert await worker.validate(new.secret) is Verdict.VALID


async def test_a_rotation_without_grace_names_no_moment(worker: Worker, log: MemoryLog) -> None:
    """The old key is dead once the event is applied, whatever any clock says."""
    old = await worker.commands.create(SETTINGS, ADMIN)

    await worker.commands.rotate(old.key.key_id, NO_GRACE, ADMIN)

    _, event = await events_in(log)
    assert isinstance(event, KeyRotated)
    assert event.data.valid_until is None
    assert b"valid_until" not in event.model_dump_json(exclude_none=True).encode()


async def test_a_rotation_with_a_grace_keeps_both_alive_until_its_end(
    worker: Worker, time: ManualTime
) -> None:
    old = await worker.commands.create(SETTINGS, ADMIN)

    new = await worker.commands.rotate(old.key.key_id, ONE_DAY, ADMIN)

    assert await verdicts(worker, old, new) == [Verdict.VALID, Verdict.VALID]
    time.pass_by(86399)
    assert await verdicts(worker, old, new) == [Verdict.VALID, Verdict.VALID]
    time.pass_by(1)
    assert await verdicts(worker, old, new) == [Verdict.INACTIVE, Verdict.VALID]


async def test_a_grace_never_outlives_the_old_keys_own_end(worker: Worker, log: MemoryLog) -> None:
    old = await worker.commands.create(replace(SETTINGS, lifetime_days=1), ADMIN)

    await worker.commands.rotate(old.key.key_id, timedelta(days=7), ADMIN)

    _, event = await events_in(log)
    assert isinstance(event, KeyRotated)
    assert event.data.valid_until == old.key.expires_at == NOW + ONE_DAY


async def test_only_the_current_key_can_be_rotated(worker: Worker) -> None:
    old = await worker.commands.create(SETTINGS, ADMIN)
    await worker.commands.rotate(old.key.key_id, ONE_DAY, ADMIN)

    with pytest.raises(WriteConflict, match="already been rotated"):
        await worker.commands.rotate(old.key.key_id, NO_GRACE, ADMIN)


async def test_a_revoked_key_cannot_be_rotated(worker: Worker) -> None:
    issue = await worker.commands.create(SETTINGS, ADMIN)
    await worker.commands.revoke(issue.key.key_id, ADMIN)

    with pytest.raises(WriteConflict, match="has been revoked"):
        await worker.commands.rotate(issue.key.key_id, NO_GRACE, ADMIN)


# Revoking


async def test_a_revoked_key_is_refused_at_once(worker: Worker) -> None:
    issue = await worker.commands.create(SETTINGS, ADMIN)

    await worker.commands.revoke(issue.key.key_id, ADMIN)

    assert await worker.validate(issue.secret) is Verdict.INACTIVE


async def test_revoking_the_current_key_ends_the_one_in_grace(worker: Worker) -> None:
    old = await worker.commands.create(SETTINGS, ADMIN)
    new = await worker.commands.rotate(old.key.key_id, ONE_DAY, ADMIN)

    await worker.commands.revoke(new.key.key_id, ADMIN)

    assert await verdicts(worker, old, new) == [Verdict.INACTIVE, Verdict.INACTIVE]


async def test_revoking_the_key_in_grace_ends_that_one_only(worker: Worker) -> None:
    old = await worker.commands.create(SETTINGS, ADMIN)
    new = await worker.commands.rotate(old.key.key_id, ONE_DAY, ADMIN)

    await worker.commands.revoke(old.key.key_id, ADMIN)

    assert await verdicts(worker, old, new) == [Verdict.INACTIVE, Verdict.VALID]


async def test_revoking_twice_is_as_good_as_once_and_appends_nothing(worker: Worker, log: MemoryLog) -> None:
    issue = await worker.commands.create(SETTINGS, ADMIN)
    await worker.commands.revoke(issue.key.key_id, ADMIN)

    await worker.commands.revoke(issue.key.key_id, ADMIN)

    assert len(await events_in(log)) == 2


async def test_an_expired_key_can_be_revoked(worker: Worker, time: ManualTime) -> None:
    issue = await worker.commands.create(replace(SETTINGS, lifetime_days=1), ADMIN)
    time.pass_by(2 * 86400)

    await worker.commands.revoke(issue.key.key_id, ADMIN)

    assert await worker.validate(issue.secret) is Verdict.INACTIVE


async def test_a_second_revocation_answers_only_when_every_worker_of_the_node_knows(
    log: MemoryLog, tmp_path: Path
) -> None:
    """Another node has revoked the key and this worker has met that; its neighbour has not yet."""
    async with (
        a_worker(log, tmp_path / "other") as other,
        a_worker(log, tmp_path / "node") as here,
    ):
        issue = await other.commands.create(SETTINGS, ADMIN)
        await caught_up(here, log)
        neighbour = build(tmp_path / "node", log.reader(TOPIC), log)
        await neighbour.follower.start({})
        await other.commands.revoke(issue.key.key_id, ADMIN)
        await caught_up(here, log)
        assert await neighbour.validate(issue.secret) is Verdict.VALID

        revoking = asyncio.create_task(here.commands.revoke(issue.key.key_id, ADMIN))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(revoking), 0.05)
        catching_up = asyncio.create_task(neighbour.follower.run())
        await asyncio.wait_for(revoking, 5)

        assert await neighbour.validate(issue.secret) is Verdict.INACTIVE
        catching_up.cancel()
        await asyncio.wait([catching_up])
        neighbour.hasher.close()


# What is not there, or must not be touched


async def test_a_key_that_nobody_knows_is_not_found(worker: Worker) -> None:
    with pytest.raises(KeyNotFound):
        await worker.commands.rotate(fresh_id(), NO_GRACE, ADMIN)
    with pytest.raises(KeyNotFound):
        await worker.commands.revoke(fresh_id(), ADMIN)


async def test_a_parked_lineage_cannot_be_changed(worker: Worker, log: MemoryLog) -> None:
    created = a_key_created()
    await append(log, created, a_key_rotated(created, sequence=3))
    await caught_up(worker, log)

    with pytest.raises(WriteConflict, match="parked"):
        await worker.commands.rotate(created.data.key_id, NO_GRACE, ADMIN)
    with pytest.raises(WriteConflict, match="parked"):
        await worker.commands.revoke(created.data.key_id, ADMIN)
    assert len(await events_in(log)) == 2


# Read your own write, on a node of several workers


async def test_a_command_answers_once_every_worker_of_the_node_has_applied_it(
    log: MemoryLog, tmp_path: Path
) -> None:
    async with a_worker(log, tmp_path) as one, a_worker(log, tmp_path) as two:
        for number in range(20):
            writer, reader = (one, two) if number % 2 else (two, one)
            old = await writer.commands.create(SETTINGS, ADMIN)
            assert await verdicts(reader, old) == [Verdict.VALID]
            new = await reader.commands.rotate(old.key.key_id, NO_GRACE, ADMIN)
            assert await verdicts(writer, old, new) == [Verdict.INACTIVE, Verdict.VALID]
            await writer.commands.revoke(new.key.key_id, ADMIN)
            assert await verdicts(reader, old, new) == [Verdict.INACTIVE, Verdict.INACTIVE]


async def test_a_command_waits_for_a_worker_that_is_behind(log: MemoryLog, tmp_path: Path) -> None:
    async with a_worker(log, tmp_path) as worker:
        behind = build(tmp_path, log.reader(TOPIC), log)
        await behind.follower.start({})

        creating = asyncio.create_task(worker.commands.create(SETTINGS, ADMIN))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(creating), 0.05)
        catching_up = asyncio.create_task(behind.follower.run())
        issue = await asyncio.wait_for(creating, 5)

        assert await behind.validate(issue.secret) is Verdict.VALID
        catching_up.cancel()
        await asyncio.wait([catching_up])
        behind.hasher.close()


# Races: two nodes on one log


@dataclass(frozen=True, slots=True)
class Race:
    """Two nodes that meet at the log: both have decided what to append before either has appended it."""

    one: Worker
    two: Worker
    logs: tuple[UnsteadyLog, UnsteadyLog]
    log: MemoryLog

    async def a_key(self) -> Issue:
        issue = await self.one.commands.create(SETTINGS, ADMIN)
        await caught_up(self.two, self.log)
        return issue

    async def between(self, *attempts: Coroutine[Any, Any, object]) -> tuple[object, object]:
        """What comes of an attempt of each node: its result, or its error."""
        before = [log.attempts for log in self.logs]
        for log in self.logs:
            log.hold()
        tasks = [asyncio.create_task(attempt) for attempt in attempts]
        await eventually(lambda: all(log.attempts > at for log, at in zip(self.logs, before, strict=True)))
        for log in self.logs:
            log.let_through()
        first, second = await asyncio.gather(*tasks, return_exceptions=True)
        await caught_up(self.one, self.log)
        await caught_up(self.two, self.log)
        return first, second

    async def verdicts(self, *issues: Issue) -> list[Verdict]:
        """Those of both nodes, which must be the same."""
        assert await verdicts(self.one, *issues) == await verdicts(self.two, *issues)
        lineage_id = issues[0].key.lineage_id
        assert self.one.directory.lineage(lineage_id) == self.two.directory.lineage(lineage_id)
        return await verdicts(self.one, *issues)


@pytest.fixture
async def race(log: MemoryLog, time: ManualTime, tmp_path: Path) -> AsyncIterator[Race]:
    logs = UnsteadyLog(log), UnsteadyLog(log)
    async with (
        a_worker(log, tmp_path / "one", time, through=logs[0]) as one,
        a_worker(log, tmp_path / "two", time, through=logs[1]) as two,
    ):
        yield Race(one, two, logs, log)


async def test_of_two_rotations_at_once_exactly_one_wins_on_both_nodes(race: Race) -> None:
    for _ in range(20):
        old = await race.a_key()

        answers = await race.between(
            race.one.commands.rotate(old.key.key_id, NO_GRACE, ADMIN),
            race.two.commands.rotate(old.key.key_id, NO_GRACE, ADMIN),
        )

        (winner,) = [answer for answer in answers if isinstance(answer, Issue)]
        assert [type(answer) for answer in answers if answer is not winner] == [WriteConflict]
        assert await race.verdicts(old, winner) == [Verdict.INACTIVE, Verdict.VALID]


@pytest.mark.parametrize("revoker_is_first", [True, False])
async def test_of_a_rotation_and_a_revocation_at_once_the_log_decides_on_both_nodes(
    race: Race, *, revoker_is_first: bool
) -> None:
    old = await race.a_key()
    revoker, rotator = (race.one, race.two) if revoker_is_first else (race.two, race.one)
    revoking = revoker.commands.revoke(old.key.key_id, ADMIN)
    rotating = rotator.commands.rotate(old.key.key_id, NO_GRACE, ADMIN)

    if revoker_is_first:
        revoked, rotated = await race.between(revoking, rotating)
    else:
        rotated, revoked = await race.between(rotating, revoking)

    assert isinstance(rotated, WriteConflict) != isinstance(revoked, WriteConflict)
    if isinstance(rotated, Issue):
        assert await race.verdicts(old, rotated) == [Verdict.INACTIVE, Verdict.VALID]
    else:
        assert revoked is None
        assert await race.verdicts(old) == [Verdict.INACTIVE]


async def test_of_two_revocations_at_once_both_succeed(race: Race) -> None:
    """The loser wanted what has happened."""
    issue = await race.a_key()

    answers = await race.between(
        race.one.commands.revoke(issue.key.key_id, ADMIN), race.two.commands.revoke(issue.key.key_id, ADMIN)
    )

    assert answers == (None, None)
    assert await race.verdicts(issue) == [Verdict.INACTIVE]


async def test_a_rotation_with_grace_that_wins_against_a_revocation_is_a_conflict_for_the_revoker(
    race: Race,
) -> None:
    """The key that was to be revoked still passes: nobody may believe that it is dead."""
    old = await race.a_key()
    # The log is let through in the order of the nodes, and each appends once.
    rotated, revoked = await race.between(
        race.one.commands.rotate(old.key.key_id, ONE_DAY, ADMIN),
        race.two.commands.revoke(old.key.key_id, ADMIN),
    )

    assert isinstance(rotated, Issue) == isinstance(revoked, WriteConflict)
    expected = Verdict.VALID if isinstance(rotated, Issue) else Verdict.INACTIVE
    assert await race.verdicts(old) == [expected]


async def test_what_happens_while_a_secret_is_hashed_counts(
    log: MemoryLog, unsteady: UnsteadyLog, tmp_path: Path
) -> None:
    """A revocation of the key in grace, meanwhile, is no reason to refuse the rotation of the current one."""
    hasher = SlowHasher(4)
    worker = build(tmp_path / "node", log.reader(TOPIC), unsteady, hasher=hasher)
    async with following(worker):
        old = await worker.commands.create(SETTINGS, ADMIN)
        new = await worker.commands.rotate(old.key.key_id, ONE_DAY, ADMIN)
        hasher.may_go_on.clear()
        rotating = asyncio.create_task(worker.commands.rotate(new.key.key_id, NO_GRACE, ADMIN))
        await eventually(lambda: hasher.is_waiting)
        await worker.commands.revoke(old.key.key_id, ADMIN)
        hasher.may_go_on.set()

        newest = await rotating

        assert await verdicts(worker, old, new, newest) == [
            Verdict.INACTIVE,
            Verdict.INACTIVE,
            Verdict.VALID,
        ]


class SlowHasher(Hasher):
    """Hashes when it may go on."""

    def __init__(self, rounds: int) -> None:
        super().__init__(rounds)
        self.is_waiting = False
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    async def hash(self, key: str) -> str:
        self.is_waiting = True
        await self.may_go_on.wait()
        self.is_waiting = False
        return await super().hash(key)


async def test_of_two_rotations_at_once_in_one_worker_exactly_one_wins(
    worker: Worker, log: MemoryLog
) -> None:
    old = await worker.commands.create(SETTINGS, ADMIN)

    answers = await asyncio.gather(
        *(worker.commands.rotate(old.key.key_id, NO_GRACE, ADMIN) for _ in range(5)), return_exceptions=True
    )

    assert sum(isinstance(answer, Issue) for answer in answers) == 1
    assert sum(isinstance(answer, WriteConflict) for answer in answers) == 4
    assert len(await events_in(log)) == 2


async def test_a_lineage_has_one_unconfirmed_write_at_a_time(
    worker: Worker, unsteady: UnsteadyLog, log: MemoryLog
) -> None:
    old = await worker.commands.create(SETTINGS, ADMIN)
    unsteady.hold()
    rotating = asyncio.create_task(worker.commands.rotate(old.key.key_id, ONE_DAY, ADMIN))
    await eventually(lambda: unsteady.attempts == 2)
    revoking = asyncio.create_task(worker.commands.revoke(old.key.key_id, ADMIN))
    elsewhere = asyncio.create_task(worker.commands.create(SETTINGS, ADMIN))

    await eventually(lambda: unsteady.attempts == 3)
    assert not revoking.done()
    unsteady.let_through()

    assert isinstance(await rotating, Issue)
    with pytest.raises(WriteConflict):
        await revoking
    assert isinstance(await elsewhere, Issue)
    assert unsteady.attempts == 3


# A log that does not answer


async def test_a_log_that_is_away_leaves_the_outcome_unknown(worker: Worker, unsteady: UnsteadyLog) -> None:
    issue = await worker.commands.create(SETTINGS, ADMIN)
    unsteady.is_away = True

    with pytest.raises(OutcomeUnknown) as unknown:
        await worker.commands.create(SETTINGS, ADMIN)
    assert worker.directory.get(unknown.value.key_id) is None
    with pytest.raises(OutcomeUnknown) as unknown:
        await worker.commands.revoke(issue.key.key_id, ADMIN)
    assert unknown.value.key_id == issue.key.key_id
    assert await worker.validate(issue.secret) is Verdict.VALID

    unsteady.is_away = False
    await worker.commands.revoke(issue.key.key_id, ADMIN)
    assert await worker.validate(issue.secret) is Verdict.INACTIVE


async def test_a_lost_answer_leaves_the_outcome_unknown_and_the_event_takes_effect(
    worker: Worker, unsteady: UnsteadyLog, log: MemoryLog
) -> None:
    issue = await worker.commands.create(SETTINGS, ADMIN)
    unsteady.loses_answers = True

    with pytest.raises(OutcomeUnknown) as unknown:
        await worker.commands.rotate(issue.key.key_id, NO_GRACE, ADMIN)

    await caught_up(worker, log)
    new = worker.directory.get(unknown.value.key_id)
    assert new is not None
    assert new.key.lineage_id == issue.key.lineage_id
    assert await worker.validate(issue.secret) is Verdict.INACTIVE


async def test_a_write_out_of_time_is_unknown_and_still_takes_effect(
    worker: Worker, unsteady: UnsteadyLog, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue = await worker.commands.create(SETTINGS, ADMIN)
    monkeypatch.setattr(commands, "WRITE_DEADLINE_SECONDS", 0.05)
    unsteady.hold()

    with pytest.raises(OutcomeUnknown) as unknown:
        await worker.commands.rotate(issue.key.key_id, NO_GRACE, ADMIN)
    assert await worker.validate(issue.secret) is Verdict.VALID
    unsteady.let_through()

    await eventually(lambda: worker.directory.get(unknown.value.key_id) is not None)
    assert await worker.validate(issue.secret) is Verdict.INACTIVE
    assert len(await events_in(log)) == 2


async def test_nothing_is_appended_behind_a_write_whose_outcome_is_unknown(
    worker: Worker, unsteady: UnsteadyLog, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue = await worker.commands.create(SETTINGS, ADMIN)
    monkeypatch.setattr(commands, "WRITE_DEADLINE_SECONDS", 0.05)
    unsteady.hold()
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            await worker.commands.revoke(issue.key.key_id, ADMIN)

    unsteady.let_through()
    await eventually(lambda: sequence(worker, issue) == 2)
    await worker.commands.revoke(issue.key.key_id, ADMIN)

    assert len(await events_in(log)) == 2
    assert unsteady.attempts == 2


async def test_a_caller_that_hangs_up_takes_nothing_back(
    worker: Worker, unsteady: UnsteadyLog, log: MemoryLog
) -> None:
    issue = await worker.commands.create(SETTINGS, ADMIN)
    unsteady.hold()
    revoking = asyncio.create_task(worker.commands.revoke(issue.key.key_id, ADMIN))
    await eventually(lambda: unsteady.attempts == 2)

    revoking.cancel()
    await asyncio.wait([revoking])
    unsteady.let_through()

    await eventually(lambda: sequence(worker, issue) == 2)
    assert await worker.validate(issue.secret) is Verdict.INACTIVE


async def test_a_node_that_starts_later_knows_every_outcome(log: MemoryLog, tmp_path: Path) -> None:
    async with a_worker(log, tmp_path / "a") as one:
        old = await one.commands.create(SETTINGS, ADMIN)
        new = await one.commands.rotate(old.key.key_id, NO_GRACE, ADMIN)
        ended = await one.commands.create(SETTINGS, ADMIN)
        await one.commands.revoke(ended.key.key_id, ADMIN)

    async with following(build(tmp_path / "b", log.reader(TOPIC), log)) as later:
        assert await verdicts(later, old, new, ended) == [
            Verdict.INACTIVE,
            Verdict.VALID,
            Verdict.INACTIVE,
        ]
