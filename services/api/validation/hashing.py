"""bcrypt off the event loop: the durable verifier of a secret, slow on purpose."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import bcrypt

from events.keys import is_bcrypt_hash
from services.api.errors import HasherBusy
from services.api.validation.fair_turns import FairTurns, NoTurn

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: What today's callers wait for an answer is ten seconds; the rest of it belongs to the log.
PATIENCE_SECONDS = 7.5
#: So much nicer than the event loop are the threads that compute: validation goes first.
NICENESS = 5
#: Less than any machine takes, so that nobody is refused before a hash was measured: 0.1 s at 12 rounds.
_FASTEST_ROUND_SECONDS = 25e-6
#: How much the latest hash counts in the mean.
_WEIGHT = 0.2

_BUSY = "Too many keys are being created, try again"


class Hasher:
    """Hashes new keys and checks old ones, each on threads of their own, so that neither starves the other.

    New keys are hashed on as many threads as there are cores. Callers take turns for them, at most
    `queue_limit` wait, and none is kept for longer than `patience_seconds`. Checks have two threads, one of
    them kept for what looks like no attack; callers take turns for each, and `check_limit` says how many may
    wait. The keys given must be well-formed, which keeps them within the 72 bytes that bcrypt takes.
    """

    def __init__(
        self,
        rounds: int,
        check_limit: int = 16,
        *,
        queue_limit: int = 1000,
        patience_seconds: float | None = None,
        threads: int | None = None,
        compute: Callable[[bytes, int], str] | None = None,
    ) -> None:
        self._rounds = rounds
        self._compute = compute or bcrypt_hash
        self._patience_seconds = patience_seconds or PATIENCE_SECONDS
        self._threads = threads or _cores()
        self._turns = FairTurns(self._threads, queue_limit)
        self._mean_seconds: float = _FASTEST_ROUND_SECONDS * 2**rounds
        self._hashing = ThreadPoolExecutor(self._threads, "bcrypt-hash", _give_way)
        self._calm = _Checks(check_limit)
        # Whoever waits here for long would better have been told to come again.
        self._suspicious = _Checks(max(1, check_limit // 4))

    async def hash(self, key: str, caller: str = "") -> str:
        """The 60-character bcrypt hash of a new key, in the turn of this caller.

        Raises `HasherBusy` at once where too many wait, and for whoever has waited in vain. Cancelling gives
        the place in the queue up: a hash that has not begun is never computed.
        """
        if self._wait_seconds(caller) > self._patience_seconds:
            raise self._busy(caller)
        try:
            async with asyncio.timeout(self._patience_seconds):
                await self._turns.take(caller)
                return await asyncio.shield(self._begin(key))
        except (TimeoutError, NoTurn):
            raise self._busy(caller) from None

    async def check(self, key: bytes, bcrypt_hash: str, caller: str = "", *, is_calm: bool = True) -> bool:
        """Whether the key is the one that was hashed. Raises `HasherBusy` when too many wait.

        A hash that bcrypt refuses, or that would take it longer than a second or two, is that of no key.
        `is_calm`: neither this caller nor keys that look like this have failed lately.
        """
        if not is_bcrypt_hash(bcrypt_hash):
            return False
        return await (self._calm if is_calm else self._suspicious).run(
            partial(_check, key, bcrypt_hash), caller
        )

    def close(self) -> None:
        self._hashing.shutdown(wait=False, cancel_futures=True)
        self._calm.close()
        self._suspicious.close()

    def _begin(self, key: str) -> asyncio.Future[str]:
        """Compute on a thread, which nothing can stop: the turn ends with it, whoever still waits for it."""
        began = time.monotonic()
        try:
            computing = _run(self._hashing, partial(self._compute, key.encode(), self._rounds))
        except HasherBusy:
            self._turns.give_back()
            raise
        computing.add_done_callback(lambda _: self._done(time.monotonic() - began))
        return computing

    def _done(self, seconds: float) -> None:
        self._mean_seconds += _WEIGHT * (seconds - self._mean_seconds)
        self._turns.give_back()

    def _wait_seconds(self, caller: str) -> float:
        """How long this caller would wait for a turn, as far as can be told."""
        return self._turns.before(caller) / self._threads * self._mean_seconds

    def _busy(self, caller: str) -> HasherBusy:
        return HasherBusy(_BUSY, max(1, math.ceil(self._wait_seconds(caller))))


class _Checks:
    """A thread for checks, and the callers that wait for it."""

    def __init__(self, limit: int) -> None:
        self._turns = FairTurns(1, limit)
        self._thread = ThreadPoolExecutor(1, "bcrypt-check", _give_way)

    async def run(self, check: Callable[[], bool], caller: str) -> bool:
        try:
            await self._turns.take(caller)
        except NoTurn:
            raise HasherBusy("Too many keys are waiting to be checked") from None
        try:
            checking = _run(self._thread, check)
        except HasherBusy:
            self._turns.give_back()
            raise
        checking.add_done_callback(lambda _: self._turns.give_back())
        return await asyncio.shield(checking)

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)


def _run(threads: ThreadPoolExecutor, work: Callable[[], T]) -> asyncio.Future[T]:
    """Raises `HasherBusy` where the machine has no thread left."""
    try:
        return asyncio.get_running_loop().run_in_executor(threads, work)
    except RuntimeError:
        raise HasherBusy(_BUSY) from None


def bcrypt_hash(key: bytes, rounds: int) -> str:
    """What is computed, on the thread of the caller."""
    return bcrypt.hashpw(key, bcrypt.gensalt(rounds)).decode()


def _check(key: bytes, bcrypt_hash: str) -> bool:
    try:
        return bcrypt.checkpw(key, bcrypt_hash.encode())
    except BaseException:  # a panic of its Rust is no Exception, and on this thread there is nothing else
        logger.exception("bcrypt refuses a stored hash")
        return False


def _cores() -> int:
    """Those that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def _give_way() -> None:
    """Make the calling thread less important than the event loop's, where a thread has a priority."""
    if sys.platform != "linux":
        return
    thread = threading.get_native_id()
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS)
