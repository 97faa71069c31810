"""What finds keys whose pepper is gone, over a store and a log in memory, with bcrypt in the test's hands."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from pathlib import Path

import bcrypt

from events.lineage import Key, Lineage, issued_key, park
from events.memory_log import MemoryLog
from events.shown_keys import display_prefix
from services.api.directory.key_facts import KeyFacts
from services.api.metrics import Metrics
from services.api.validation.bcrypt_fallback import BcryptFallback
from services.api.validation.hashing import Hasher
from services.api.validation.key_material import Fingerprints, Pepper
from tests.builders import a_key_created
from tests.fakes import ManualTime, UnsteadyReader
from tests.pepper_fakes import PEPPERS, declare, known_peppers
from tests.unit.api.directory.harness import a_store
from tests.unit.api.workers import LocalFollower

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECRET = b"hk_live_AbC" + b"x" * 29


def a_wrong_secret(number: int = 0) -> bytes:
    """One that looks like the right one: same visible prefix."""
    return b"hk_live_AbC%029d" % number


class CountingHasher(Hasher):
    """Counts its checks, and can hold them back."""

    def __init__(self, limit: int = 16) -> None:
        super().__init__(4, limit)
        self.checks = 0
        #: For whom, and whether that looked like no attack.
        self.asked: list[tuple[str, bool]] = []
        self._may_go_on = threading.Event()
        self._may_go_on.set()

    def hold(self) -> None:
        self._may_go_on.clear()

    def go_on(self) -> None:
        self._may_go_on.set()

    async def check(self, key: bytes, bcrypt_hash: str, caller: str = "", *, is_calm: bool = True) -> bool:
        self.checks += 1
        self.asked.append((caller, is_calm))
        await asyncio.to_thread(self._may_go_on.wait, 5)
        return await super().check(key, bcrypt_hash, caller, is_calm=is_calm)


class CountingMetrics(Metrics):
    """Counts what was refused because of a pepper."""

    refusals = 0

    def unknown_pepper(self) -> None:
        self.refusals += 1


class Desk:
    """What finds keys under today's pepper, and keys of a pepper that is no longer there."""

    def __init__(self, folder: Path, hasher: Hasher, *, is_log_away: bool = False) -> None:
        self.time = ManualTime(NOW)
        self.fingerprints = Fingerprints([Pepper("2026", "a pepper of thirty-two characters")])
        self.store = a_store(folder, self.fingerprints.known_ids)
        self.log = MemoryLog()
        reader = UnsteadyReader(self.log.reader(PEPPERS))
        if is_log_away:
            reader.fall_silent()
        self.peppers = known_peppers(self.log, self.fingerprints.known_ids, reader)
        self.metrics = CountingMetrics()
        self.follower = LocalFollower(self.store.writer, self.fingerprints.newest_id, self.peppers)
        self.fallback = BcryptFallback(
            self.store.directory,
            self.fingerprints,
            self.follower,
            hasher,
            self.time.clock(),
            self.metrics,
        )

    def knows(self, secret: bytes, **facts: str) -> Key:
        hashed = bcrypt.hashpw(secret, bcrypt.gensalt(4)).decode()
        prefix = display_prefix(secret.decode())
        created = a_key_created(
            **{"pepper_id": "retired", "key_prefix": prefix, "bcrypt_hash": hashed, **facts}
        )
        key = issued_key(created.data, NOW)
        self.now_knows(key)
        return key

    def now_knows(self, key: Key, parked: str | None = None) -> None:
        lineage = Lineage(key.lineage_id, 1, (key,))
        self.store.writer.put(lineage if parked is None else park(lineage, parked).lineage)

    def find(self, secret: bytes) -> KeyFacts | None:
        """By its fingerprint of today."""
        return self.store.directory.find(self.fingerprints.newest(secret))

    async def recognises(self, secret: bytes, address: str = "") -> bool:
        return await self.fallback.find(secret, address) is not None


async def a_desk(folder: Path, hasher: Hasher) -> Desk:
    """One whose node has started after another one with the pepper that is no longer there."""
    desk = Desk(folder, hasher)
    await declare(desk.log, "retired")
    await desk.peppers.start()
    return desk
