"""Revoking a key."""

from __future__ import annotations

import pytest

from events.memory_log import MemoryLog
from services.api.verdict import Verdict
from tests.fakes import ManualTime
from tests.unit.api.workers import ADMIN, ONE_DAY, SETTINGS, Worker, events_in, verdicts

pytestmark = pytest.mark.anyio


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
    issue = await worker.commands.create(SETTINGS._replace(lifetime_days=1), ADMIN)
    time.pass_by(2 * 86400)

    await worker.commands.revoke(issue.key.key_id, ADMIN)

    assert await worker.validate(issue.secret) is Verdict.INACTIVE
