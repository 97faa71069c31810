"""Keys whose pepper is lost or retired: found by their visible prefix, verified by bcrypt."""

from __future__ import annotations

import asyncio

import pytest

from tests.bcrypt_hashes import BAD
from tests.unit.api.validation.desk import NOW, SECRET, CountingHasher, Desk, a_wrong_secret

pytestmark = pytest.mark.anyio


async def test_a_key_is_recognised_once_and_found_by_its_fingerprint_ever_after(
    desk: Desk, hasher: CountingHasher
) -> None:
    key = desk.knows(SECRET)
    assert desk.find(SECRET) is None

    known = await desk.fallback.find(SECRET)

    assert known is not None
    assert known.key_id == key.key_id
    found = desk.find(SECRET)
    assert found is not None
    assert found.key_id == key.key_id
    assert found.active_until > NOW.timestamp()
    assert hasher.checks == 1
    assert desk.store.unverifiable == 0


async def test_a_wrong_secret_is_not_recognised(desk: Desk) -> None:
    desk.knows(SECRET)

    assert not await desk.recognises(a_wrong_secret())
    assert desk.find(a_wrong_secret()) is None


async def test_the_right_one_of_several_look_alikes_is_recognised(desk: Desk) -> None:
    desk.knows(a_wrong_secret(1))
    key = desk.knows(SECRET)

    known = await desk.fallback.find(SECRET)

    assert known is not None
    assert known.key_id == key.key_id


async def test_garbage_costs_no_bcrypt(desk: Desk, hasher: CountingHasher) -> None:
    desk.knows(SECRET)

    for presented in (
        b"",
        b"garbage",
        b"hk_live_AbC",
        b"hk_live_XyZ" + b"x" * 29,
        b"hk_live_AbC" + b"x" * 99,
    ):
        assert not await desk.recognises(presented)

    assert hasher.checks == 0


async def test_a_dead_key_costs_no_bcrypt_however_often_it_is_presented(
    desk: Desk, hasher: CountingHasher
) -> None:
    key = desk.knows(SECRET)
    desk.now_knows(key._replace(revoked_at=NOW))

    assert [await desk.recognises(SECRET) for _ in range(10)] == [False] * 10

    desk.now_knows(key, parked="gap")
    assert not await desk.recognises(SECRET)
    assert hasher.checks == 0


async def test_a_key_in_grace_is_recognised(desk: Desk) -> None:
    key = desk.knows(SECRET)
    desk.now_knows(key._replace(superseded_by="new", valid_until=NOW.replace(hour=13)))

    assert await desk.recognises(SECRET)


async def test_the_same_secret_is_checked_once_at_a_time(desk: Desk, hasher: CountingHasher) -> None:
    desk.knows(SECRET)

    answers = await asyncio.gather(*(desk.recognises(SECRET) for _ in range(50)))

    assert answers == [True] * 50
    assert hasher.checks == 1


async def test_a_caller_that_hangs_up_cancels_nobody_elses_check(desk: Desk, hasher: CountingHasher) -> None:
    desk.knows(SECRET)
    hasher.hold()
    hangs_up = asyncio.create_task(desk.recognises(SECRET))
    waits = asyncio.create_task(desk.recognises(SECRET))
    await asyncio.sleep(0)

    hangs_up.cancel()
    await asyncio.wait([hangs_up])
    hasher.go_on()

    assert await waits
    assert hasher.checks == 1


async def test_a_slow_check_holds_up_nobody_else(desk: Desk, hasher: CountingHasher) -> None:
    desk.knows(SECRET)
    hasher.hold()
    slow = asyncio.create_task(desk.recognises(SECRET))
    await asyncio.sleep(0)

    assert desk.find(b"hk_live_" + b"n" * 32) is None
    assert not await desk.recognises(b"hk_live_" + b"n" * 32)
    assert not slow.done()

    hasher.go_on()
    assert await slow


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
async def test_a_hash_that_bcrypt_refuses_hides_no_other_key_that_looks_alike(
    desk: Desk, hasher: CountingHasher, bad: str
) -> None:
    """Such a hash is in no event; a row that an older projector made of one may have it."""
    before = desk.knows(a_wrong_secret(1))
    desk.now_knows(before._replace(bcrypt_hash=bad))
    key = desk.knows(SECRET)
    after = desk.knows(a_wrong_secret(2))
    desk.now_knows(after._replace(bcrypt_hash=bad))

    known = await desk.fallback.find(SECRET)

    assert known is not None
    assert known.key_id == key.key_id
    assert not await desk.recognises(a_wrong_secret(1))
    assert not await desk.recognises(a_wrong_secret(2))
    assert hasher.checks == 1


async def test_a_key_is_recognised_although_nobody_hears_of_it(desk: Desk, hasher: CountingHasher) -> None:
    """The follower is away: bcrypt is asked again the next time."""

    async def learn(key_id: str, fingerprint: bytes) -> bool | None:
        return None

    desk.follower.learn = learn  # type: ignore[method-assign]
    desk.knows(SECRET)

    assert [await desk.recognises(SECRET) for _ in range(2)] == [True, True]
    assert hasher.checks == 2
