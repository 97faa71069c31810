"""What is not there, or must not be touched."""

from __future__ import annotations

import pytest

from events.memory_log import MemoryLog
from services.api.errors import KeyNotFound, WriteConflict
from tests.builders import a_key_created, a_key_rotated, fresh_id
from tests.unit.api.workers import ADMIN, NO_GRACE, Worker, append, caught_up, events_in

pytestmark = pytest.mark.anyio


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
