"""Rotating a key."""

from __future__ import annotations

from datetime import timedelta

import pytest

from events.keys import KeyRotated
from events.memory_log import MemoryLog
from services.api.errors import WriteConflict
from services.api.verdict import Verdict
from tests.fakes import ManualTime
from tests.unit.api.commands.worlds import NOW
from tests.unit.api.workers import ADMIN, NO_GRACE, ONE_DAY, SETTINGS, Worker, events_in, verdicts

pytestmark = pytest.mark.anyio


async def test_a_rotation_kills_the_old_key_and_the_new_one_passes(worker: Worker) -> None:
    old = await worker.commands.create(SETTINGS, ADMIN)

    new = await worker.commands.rotate(old.key.key_id, NO_GRACE, ADMIN)

    assert await verdicts(worker, old, new) == [Verdict.INACTIVE, Verdict.VALID]
    assert new.key.key_id != old.key.key_id
    assert new.key.lineage_id == old.key.lineage_id


async def test_a_rotation_keeps_the_settings_and_starts_the_life_anew(
    worker: Worker, time: ManualTime
) -> None:
    settings = SETTINGS._replace(environment="test", scopes=("train",), lifetime_days=30)
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
    old = await worker.commands.create(SETTINGS._replace(lifetime_days=1), ADMIN)

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
