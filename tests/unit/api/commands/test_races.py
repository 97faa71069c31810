"""The log decides races."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from events.memory_log import MemoryLog
from services.api.commands import Issue
from services.api.errors import WriteConflict
from services.api.verdict import Verdict
from tests.fakes import UnsteadyLog
from tests.unit.api.commands.worlds import Race, SlowHasher
from tests.unit.api.workers import (
    ADMIN,
    NO_GRACE,
    ONE_DAY,
    SETTINGS,
    TOPIC,
    Worker,
    build,
    events_in,
    eventually,
    following,
    verdicts,
)

pytestmark = pytest.mark.anyio


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
