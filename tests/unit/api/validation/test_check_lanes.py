"""Checks have two threads: what looks like an attack takes one of them, and keeps nobody from the other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import bcrypt
import pytest

from services.api.validation.hashing import Hasher
from tests.bcrypt_hashes import GOOD

pytestmark = pytest.mark.anyio

SLOW, QUICK = b"slow", b"quick"


@pytest.fixture
def may_end() -> Iterator[threading.Event]:
    """Until then no check of `SLOW` ends."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def hasher(may_end: threading.Event, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hasher]:
    monkeypatch.setattr(bcrypt, "checkpw", lambda key, _: key == QUICK or may_end.wait(5))
    hasher = Hasher(4, 100)
    yield hasher
    may_end.set()
    hasher.close()


def checking(hasher: Hasher, key: bytes, caller: str, *, is_calm: bool) -> asyncio.Task[bool]:
    return asyncio.create_task(hasher.check(key, GOOD, caller, is_calm=is_calm))


@pytest.mark.parametrize("is_calm", [True, False])
async def test_neither_thread_waits_for_the_other(
    hasher: Hasher, may_end: threading.Event, *, is_calm: bool
) -> None:
    held_up = [checking(hasher, SLOW, f"caller {number}", is_calm=not is_calm) for number in range(20)]
    await asyncio.sleep(0.01)

    assert await asyncio.wait_for(checking(hasher, QUICK, "caller 7", is_calm=is_calm), 2)

    assert not any(one.done() for one in held_up)
    may_end.set()
    assert await asyncio.gather(*held_up) == [True] * 20


async def test_callers_take_turns(
    hasher: Hasher, may_end: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that has many checks waiting goes behind itself."""
    computed: list[bytes] = []

    def checkpw(key: bytes, _: bytes) -> bool:
        computed.append(key)
        return may_end.wait(5)

    monkeypatch.setattr(bcrypt, "checkpw", checkpw)
    many = [checking(hasher, b"many", "many", is_calm=False) for _ in range(20)]
    await asyncio.sleep(0.01)
    one = checking(hasher, b"one", "one", is_calm=False)
    await asyncio.sleep(0)

    may_end.set()
    await asyncio.gather(one, *many)

    assert computed.index(b"one") <= 2


async def test_a_caller_that_hangs_up_gives_its_place_back(hasher: Hasher, may_end: threading.Event) -> None:
    computed = checking(hasher, SLOW, "a", is_calm=True)
    waiting = checking(hasher, SLOW, "b", is_calm=True)
    await asyncio.sleep(0.01)

    for task in (waiting, computed):
        task.cancel()
    await asyncio.wait([waiting, computed])
    may_end.set()

    assert await asyncio.wait_for(checking(hasher, QUICK, "c", is_calm=True), 2)
