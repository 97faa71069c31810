"""A command answers once every worker of the node knows."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from events.memory_log import MemoryLog
from services.api.verdict import Verdict
from tests.unit.api.workers import (
    ADMIN,
    NO_GRACE,
    SETTINGS,
    TOPIC,
    a_worker,
    build,
    caught_up,
    following,
    verdicts,
)

pytestmark = pytest.mark.anyio


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
