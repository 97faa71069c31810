"""A log, or a hasher, that does not answer in time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from events.memory_log import MemoryLog
from services.api import commands
from services.api.errors import CallerGone, HasherBusy, OutcomeUnknown
from services.api.verdict import Verdict
from tests.fakes import UnsteadyLog
from tests.unit.api.commands.worlds import SlowHasher
from tests.unit.api.workers import (
    ADMIN,
    NO_GRACE,
    SETTINGS,
    TOPIC,
    Worker,
    build,
    caught_up,
    events_in,
    eventually,
    following,
    sequence,
)

pytestmark = pytest.mark.anyio


async def test_a_secret_that_is_not_hashed_in_time_leaves_nothing_behind(
    log: MemoryLog, tmp_path: Path
) -> None:
    """Nothing was appended, and that is what the caller is told."""
    hasher = SlowHasher(4, patience_seconds=0.1)
    async with following(build(tmp_path, log.reader(TOPIC), log, hasher=hasher)) as worker:
        issue = await worker.commands.create(SETTINGS, ADMIN)
        hasher.may_go_on.clear()

        with pytest.raises(HasherBusy):
            await worker.commands.create(SETTINGS, ADMIN)
        with pytest.raises(HasherBusy):
            await worker.commands.rotate(issue.key.key_id, NO_GRACE, ADMIN)
        hasher.may_go_on.set()

        assert len(await events_in(log)) == 1
        assert await worker.validate(issue.secret) is Verdict.VALID


async def test_a_log_that_is_away_leaves_the_outcome_unknown(worker: Worker, unsteady: UnsteadyLog) -> None:
    issue = await worker.commands.create(SETTINGS, ADMIN)
    unsteady.is_away = True

    with pytest.raises(OutcomeUnknown) as unknown:
        await worker.commands.create(SETTINGS, ADMIN)
    assert unknown.value.key_id not in worker.directory
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
    key = worker.directory.key(unknown.value.key_id)
    assert key is not None
    assert key.lineage_id == issue.key.lineage_id
    assert await worker.validate(issue.secret) is Verdict.INACTIVE


async def test_a_write_out_of_time_is_unknown_and_still_takes_effect(
    worker: Worker, unsteady: UnsteadyLog, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue = await worker.commands.create(SETTINGS, ADMIN)
    monkeypatch.setattr(commands, "WRITE_SECONDS", 0.05)
    unsteady.hold()

    with pytest.raises(OutcomeUnknown) as unknown:
        await worker.commands.rotate(issue.key.key_id, NO_GRACE, ADMIN)
    assert await worker.validate(issue.secret) is Verdict.VALID
    unsteady.let_through()

    await eventually(lambda: unknown.value.key_id in worker.directory)
    assert await worker.validate(issue.secret) is Verdict.INACTIVE
    assert len(await events_in(log)) == 2


async def test_nothing_is_appended_behind_a_write_whose_outcome_is_unknown(
    worker: Worker, unsteady: UnsteadyLog, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue = await worker.commands.create(SETTINGS, ADMIN)
    monkeypatch.setattr(commands, "WRITE_SECONDS", 0.05)
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


async def test_a_caller_that_hangs_up_before_its_key_is_hashed_gets_none(
    log: MemoryLog, tmp_path: Path
) -> None:
    hasher, gone = SlowHasher(4, threads=1), asyncio.Event()
    async with following(build(tmp_path, log.reader(TOPIC), log, hasher=hasher)) as worker:
        issue = await worker.commands.create(SETTINGS, ADMIN)
        hasher.may_go_on.clear()
        stays = asyncio.create_task(worker.commands.create(SETTINGS, ADMIN))
        await eventually(lambda: hasher.is_waiting)
        leaver = replace(ADMIN, hung_up=gone.wait)
        leaving = [
            asyncio.create_task(worker.commands.create(SETTINGS, leaver)),
            asyncio.create_task(worker.commands.rotate(issue.key.key_id, NO_GRACE, leaver)),
        ]
        await asyncio.sleep(0)
        gone.set()

        for task in leaving:
            with pytest.raises(CallerGone):
                await task
        hasher.may_go_on.set()

        await stays
        assert hasher.computed == 2
        assert len(await events_in(log)) == 2
        assert await worker.validate(issue.secret) is Verdict.VALID


async def test_the_log_has_its_own_time_after_a_long_wait_for_a_hash(
    log: MemoryLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting beats refusing: what was hashed late is appended all the same."""
    monkeypatch.setattr(commands, "WRITE_SECONDS", 0.3)
    hasher = SlowHasher(4)
    async with following(build(tmp_path, log.reader(TOPIC), log, hasher=hasher)) as worker:
        hasher.may_go_on.clear()
        creating = asyncio.create_task(worker.commands.create(SETTINGS, ADMIN))
        await asyncio.sleep(0.5)
        hasher.may_go_on.set()

        assert await worker.validate((await creating).secret) is Verdict.VALID
