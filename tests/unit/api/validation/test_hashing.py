"""bcrypt off the event loop."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator

import bcrypt
import pytest

from services.api.errors import HasherBusy
from services.api.validation.hashing import NICENESS, Hasher
from tests.bcrypt_hashes import BAD, GOOD

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
    """One is computed and two may wait."""
    hashed = await hasher.hash(KEY)

    answers = await asyncio.gather(
        *(hasher.check(KEY.encode(), hashed) for _ in range(4)), return_exceptions=True
    )

    assert answers[:3] == [True] * 3
    assert isinstance(answers[3], HasherBusy)


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


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
async def test_a_stored_hash_that_bcrypt_refuses_or_that_takes_too_long_is_that_of_no_key(
    hasher: Hasher, bad: str
) -> None:
    """One of cost 31 would keep the only thread busy for days."""
    async with asyncio.timeout(1):
        assert await hasher.check(KEY.encode(), bad) is False


async def test_whatever_bcrypt_raises_the_key_is_not_this_one(
    hasher: Hasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Panic(BaseException):
        """As Rust's come to Python."""

    hashed = await hasher.hash(KEY)
    for error in (ValueError, Panic):

        def checkpw(*_: bytes, error: type[BaseException] = error) -> bool:
            raise error

        with monkeypatch.context() as broken:
            broken.setattr(bcrypt, "checkpw", checkpw)
            assert await hasher.check(KEY.encode(), hashed) is False
    assert await hasher.check(KEY.encode(), hashed)


class Workshop:
    """A hasher with so many threads, which compute when they may; and who was served, in that order."""

    def __init__(
        self, threads: int = 1, rounds: int = 4, patience_seconds: float = 5, limit: int = 100
    ) -> None:
        self.served: list[str] = []
        self.nice: list[int] = []
        self.may_go_on = threading.Event()
        self.hasher = Hasher(
            rounds,
            queue_limit=limit,
            patience_seconds=patience_seconds,
            threads=threads,
            compute=self._compute,
        )

    async def asks(self, *names: str) -> list[asyncio.Task[str]]:
        """`a1` is the first key of caller `a`."""
        tasks = [asyncio.create_task(self.hasher.hash(name, name[0])) for name in names]
        await asyncio.sleep(0)
        return tasks

    def _compute(self, key: bytes, rounds: int) -> str:
        assert self.may_go_on.wait(10)
        self.nice.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        self.served.append(key.decode())
        return f"{key.decode()} at {rounds}"


@pytest.fixture
def workshop() -> Iterator[Workshop]:
    workshop = Workshop()
    yield workshop
    workshop.may_go_on.set()
    workshop.hasher.close()


async def test_callers_take_turns(workshop: Workshop) -> None:
    tasks = await workshop.asks("a1", "a2", "a3", "b1", "a4", "b2")
    workshop.may_go_on.set()

    assert [task.split()[0] for task in await asyncio.gather(*tasks)] == ["a1", "a2", "a3", "b1", "a4", "b2"]
    assert workshop.served == ["a1", "a2", "b1", "a3", "b2", "a4"]


async def test_who_hangs_up_is_not_hashed(workshop: Workshop) -> None:
    first, second, third = await workshop.asks("a1", "a2", "b1")
    second.cancel()
    await asyncio.wait([second])
    workshop.may_go_on.set()

    await asyncio.gather(first, third)
    assert workshop.served == ["a1", "b1"]


async def test_who_hangs_up_while_hashed_keeps_the_turn_until_the_thread_is_free(workshop: Workshop) -> None:
    """A thread can't be stopped; another hash beside it would have to wait for it, unnoticed."""
    first, second = await workshop.asks("a1", "b1")
    first.cancel()
    await asyncio.wait([first])
    (third,) = await workshop.asks("c1")
    second.cancel()
    await asyncio.wait([second])
    workshop.may_go_on.set()

    await third
    assert workshop.served == ["a1", "c1"]


async def test_threads_give_way_to_the_event_loop(workshop: Workshop) -> None:
    workshop.may_go_on.set()

    await workshop.hasher.hash("a1")

    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert workshop.nice == [own + NICENESS]


async def test_new_keys_are_hashed_on_every_core() -> None:
    hasher = Hasher(rounds=4)
    try:
        await asyncio.gather(*(hasher.hash(KEY) for _ in range(20)))
        names = {thread.name for thread in threading.enumerate() if thread.name.startswith("bcrypt-hash")}
        assert len(names) == len(os.sched_getaffinity(0))
    finally:
        hasher.close()


async def test_who_has_waited_in_vain_is_told_when_to_come_back() -> None:
    workshop = Workshop(patience_seconds=0.1)
    try:
        began, (first, second) = time.monotonic(), await workshop.asks("a1", "a2")
        for task in (first, second):
            with pytest.raises(HasherBusy) as busy:
                await task
            assert busy.value.retry_after_seconds == 1
        assert time.monotonic() - began < 2
        workshop.may_go_on.set()
        assert await workshop.hasher.hash("a3") == "a3 at 4"
        assert workshop.served == ["a1", "a3"], "what was given up is never computed"
    finally:
        workshop.may_go_on.set()
        workshop.hasher.close()


async def test_a_full_queue_is_told_at_once_and_how_long_it_is() -> None:
    """Two threads, 0.8 s a hash (15 rounds on the fastest machine): 18 more than are computed take 7 s."""
    workshop = Workshop(threads=2, rounds=15, patience_seconds=7)
    try:
        tasks = await workshop.asks(*(f"a{number}" for number in range(40)))
        refused = [task for task in tasks if task.done()]

        assert 20 <= len(refused) <= 22
        for task in refused:
            error = task.exception()
            assert isinstance(error, HasherBusy)
            assert error.retry_after_seconds == 8
        (other,) = await workshop.asks("b1")
        assert not other.done(), "another caller does not wait behind all of these"
        for task in (*tasks, other):
            task.cancel()
        await asyncio.wait([*tasks, other])
    finally:
        workshop.may_go_on.set()
        workshop.hasher.close()


async def test_where_no_thread_can_be_started_the_answer_is_not_now(monkeypatch: pytest.MonkeyPatch) -> None:
    hasher = Hasher(rounds=4, threads=2)

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    try:
        with monkeypatch.context() as exhausted:
            exhausted.setattr(threading.Thread, "start", start)
            for _ in range(5):
                with pytest.raises(HasherBusy):
                    await hasher.hash(KEY)
            with pytest.raises(HasherBusy):
                await hasher.check(KEY.encode(), GOOD)
        assert await hasher.check(KEY.encode(), await hasher.hash(KEY))
    finally:
        hasher.close()
