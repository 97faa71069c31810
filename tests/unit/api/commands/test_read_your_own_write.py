"""A command answers once the node's store includes its event: from then on every worker of the node knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from events.memory_log import MemoryLog
from services.api.verdict import Verdict
from tests.unit.api.workers import (
    ADMIN,
    NO_GRACE,
    SETTINGS,
    TOPIC,
    Worker,
    a_sibling,
    a_worker,
    build,
    caught_up,
    following,
    verdicts,
)

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def behind(log: MemoryLog, folder: Path) -> AsyncIterator[Worker]:
    """A worker of a node whose follower has started, and reads nothing any more."""
    worker = build(folder, log.reader(TOPIC), log)
    await worker.follower.start()
    try:
        yield worker
    finally:
        worker.close()


@asynccontextmanager
async def catching_up(worker: Worker) -> AsyncIterator[None]:
    """Its follower goes on."""
    task = asyncio.create_task(worker.follower.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def is_held_up(command: asyncio.Task[object]) -> bool:
    await asyncio.wait([command], timeout=0.05)
    return not command.done()


async def test_a_command_that_has_answered_is_known_to_every_worker_of_the_node(
    log: MemoryLog, tmp_path: Path
) -> None:
    async with a_worker(log, tmp_path) as one:
        two = a_sibling(one, tmp_path, log)
        for number in range(20):
            writer, reader = (one, two) if number % 2 else (two, one)
            old = await writer.commands.create(SETTINGS, ADMIN)
            assert await verdicts(reader, old) == [Verdict.VALID]
            new = await reader.commands.rotate(old.key.key_id, NO_GRACE, ADMIN)
            assert await verdicts(writer, old, new) == [Verdict.INACTIVE, Verdict.VALID]
            await writer.commands.revoke(new.key.key_id, ADMIN)
            assert await verdicts(reader, old, new) == [Verdict.INACTIVE, Verdict.INACTIVE]
        two.close()


async def test_a_command_waits_for_a_follower_that_is_behind(log: MemoryLog, tmp_path: Path) -> None:
    async with behind(log, tmp_path) as worker:
        creating = asyncio.create_task(worker.commands.create(SETTINGS, ADMIN))
        assert await is_held_up(creating)

        async with catching_up(worker):
            issue = await asyncio.wait_for(creating, 5)
            assert await worker.validate(issue.secret) is Verdict.VALID


async def test_a_command_waits_for_its_own_event_and_not_for_an_earlier_one(
    log: MemoryLog, tmp_path: Path
) -> None:
    """The store has passed many an offset of the partition before."""
    async with a_worker(log, tmp_path) as worker:
        issue = await worker.commands.create(SETTINGS, ADMIN)
    async with behind(log, tmp_path) as worker:
        revoking = asyncio.create_task(worker.commands.revoke(issue.key.key_id, ADMIN))
        assert await is_held_up(revoking)
        assert await worker.validate(issue.secret) is Verdict.VALID

        async with catching_up(worker):
            await asyncio.wait_for(revoking, 5)
            assert await worker.validate(issue.secret) is Verdict.INACTIVE


async def test_what_other_workers_do_holds_no_command_up(log: MemoryLog, tmp_path: Path) -> None:
    """One that does not get round to anything, and one that was killed: neither has to know."""
    async with a_worker(log, tmp_path) as worker:
        busy = a_sibling(worker, tmp_path, log)
        busy.metrics.sit(busy.node.enter())

        issue = await asyncio.wait_for(worker.commands.create(SETTINGS, ADMIN), 1)
        await asyncio.wait_for(worker.commands.revoke(issue.key.key_id, ADMIN), 1)

        assert await verdicts(busy, issue) == [Verdict.INACTIVE]
        busy.node.leave()
        busy.close()


async def test_a_second_revocation_that_answers_is_known_to_every_worker_of_the_node(
    log: MemoryLog, tmp_path: Path
) -> None:
    """Another node has revoked the key, and that has come here before the answer."""
    async with (
        a_worker(log, tmp_path / "other") as other,
        a_worker(log, tmp_path / "node") as here,
    ):
        sibling = a_sibling(here, tmp_path / "node", log)
        issue = await other.commands.create(SETTINGS, ADMIN)
        await caught_up(here, log)
        assert await verdicts(sibling, issue) == [Verdict.VALID]
        await other.commands.revoke(issue.key.key_id, ADMIN)
        await caught_up(here, log)

        await here.commands.revoke(issue.key.key_id, ADMIN)

        assert await verdicts(sibling, issue) == [Verdict.INACTIVE]
        sibling.close()


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
