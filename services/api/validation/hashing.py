"""bcrypt off the event loop: the durable verifier of a secret, slow on purpose."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import bcrypt

from services.api.errors import HasherBusy


class Hasher:
    """Hashes new keys and checks old ones, each on one thread of its own, so that neither starves the other.

    `limit`: how many may wait for a check; one more raises `HasherBusy`. The keys given must be
    well-formed, which keeps them within the 72 bytes that bcrypt takes.
    """

    def __init__(self, rounds: int, limit: int = 16) -> None:
        self._rounds = rounds
        self._limit = limit
        self._checks_waiting = 0
        self._hashing = ThreadPoolExecutor(1, thread_name_prefix="bcrypt-hash")
        self._checking = ThreadPoolExecutor(1, thread_name_prefix="bcrypt-check")

    async def hash(self, key: str) -> str:
        """The 60-character bcrypt hash of a new key."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._hashing, _hash, key.encode(), self._rounds)

    async def check(self, key: bytes, bcrypt_hash: str) -> bool:
        """Whether the key is the one that was hashed. Raises `HasherBusy` when too many wait."""
        if self._checks_waiting >= self._limit:
            raise HasherBusy("too many keys are waiting to be checked")
        self._checks_waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._checking, bcrypt.checkpw, key, bcrypt_hash.encode())
        finally:
            self._checks_waiting -= 1

    def close(self) -> None:
        self._hashing.shutdown(wait=False, cancel_futures=True)
        self._checking.shutdown(wait=False, cancel_futures=True)


def _hash(key: bytes, rounds: int) -> str:
    return bcrypt.hashpw(key, bcrypt.gensalt(rounds)).decode()
