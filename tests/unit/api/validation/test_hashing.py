"""bcrypt off the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import bcrypt
import pytest

from services.api.errors import HasherBusy
from services.api.validation.hashing import Hasher

pytestmark = pytest.mark.anyio

KEY = "hk_live_" + "k" * 32


@pytest.fixture
def hasher() -> Iterator[Hasher]:
    hasher = Hasher(rounds=4, check_limit=2)
    yield hasher
    hasher.close()


async def test_a_hash_is_bcrypt_with_the_given_rounds(hasher: Hasher) -> None:
    hashed = await hasher.hash(KEY)

    assert hashed.startswith("$2b$04$")
    assert len(hashed) == 60
    assert bcrypt.checkpw(KEY.encode(), hashed.encode())


async def test_a_hash_verifies_its_key_alone(hasher: Hasher) -> None:
    hashed = await hasher.hash(KEY)

    assert await hasher.check(KEY.encode(), hashed)
    assert not await hasher.check(KEY.encode() + b"x", hashed)


async def test_the_same_key_is_hashed_with_another_salt_each_time(hasher: Hasher) -> None:
    assert await hasher.hash(KEY) != await hasher.hash(KEY)


async def test_one_check_too_many_is_told_to_come_back(hasher: Hasher) -> None:
    hashed = await hasher.hash(KEY)

    answers = await asyncio.gather(
        *(hasher.check(KEY.encode(), hashed) for _ in range(3)), return_exceptions=True
    )

    assert answers[:2] == [True, True]
    assert isinstance(answers[2], HasherBusy)


async def test_a_place_is_free_again_once_its_check_is_done(hasher: Hasher) -> None:
    hashed = await hasher.hash(KEY)
    for _ in range(5):
        assert await hasher.check(KEY.encode(), hashed)


async def test_checks_never_hold_up_the_event_loop_or_new_keys() -> None:
    """Both run on threads of their own: neither the loop nor creating keys waits for a slow check."""
    hasher = Hasher(rounds=4)
    slow = bcrypt.hashpw(KEY.encode(), bcrypt.gensalt(11)).decode()
    try:
        check = asyncio.create_task(hasher.check(KEY.encode(), slow))
        await asyncio.sleep(0)
        await hasher.hash(KEY)
        assert not check.done()
        assert await check
    finally:
        hasher.close()


async def test_closing_leaves_no_thread_behind() -> None:
    hasher = Hasher(rounds=4)
    hashed = await hasher.hash(KEY)
    await hasher.check(KEY.encode(), hashed)
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("bcrypt")]

    hasher.close()

    for thread in threads:
        thread.join(timeout=5)
    assert threads
    assert not any(thread.is_alive() for thread in threads)
