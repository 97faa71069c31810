"""What bcrypt has told of keys whose pepper is gone: kept in the store at once, and told to the log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from itertools import islice

import lmdb
import orjson

from events.clock import Clock
from events.codec import encode
from events.errors import LogUnavailable
from events.keys import KeyRefingerprinted, Refingerprinting
from events.log import EventLog
from services.api.directory.key_directory import read_lineage
from services.api.directory.key_store import KeyStore
from services.api.directory.store_writer import StoreWriter
from services.api.directory.stored_facts import key_of

logger = logging.getLogger(__name__)

#: An event may lose its place to another one of its lineage: it is told again until the log has it.
AGAIN_SECONDS = 30.0
ACTOR = "bcrypt"
AT_ONCE = 100


class LearntFingerprints:
    """Appends a KeyRefingerprinted for every fingerprint that the store has learnt and the log has not."""

    def __init__(
        self,
        store: KeyStore,
        writer: StoreWriter,
        log: EventLog,
        topic: str,
        pepper_id: str,
        source: str,
        clock: Clock,
    ) -> None:
        self._store = store
        self._writer = writer
        self._log = log
        self._topic = topic
        self._pepper_id = pepper_id
        self._source = source
        self._clock = clock
        self._news = asyncio.Event()

    async def learn(self, key_id: str, fingerprint: str) -> bool:
        """From now on the fingerprint (64 hexadecimal digits) finds this key on this node."""
        self._writer.learn(key_id, bytes.fromhex(fingerprint), self._pepper_id)
        self._news.set()
        return True

    async def run(self) -> None:
        """For ever."""
        while True:
            self._news.clear()
            if await self._has_told_all():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(AGAIN_SECONDS):
                        await self._news.wait()
            else:
                await asyncio.sleep(AGAIN_SECONDS)  # whatever is learnt meanwhile: the log is away

    async def _has_told_all(self) -> bool:
        """Whether the log took what it does not have: some at a time, since all keys may be among it."""
        after = b""
        while untold := self._untold(after):
            for key_id, event in untold:
                after = key_id
                if event is None:
                    continue
                try:
                    await self._log.append(self._topic, event.partitionkey.encode(), encode(event))
                except LogUnavailable as error:
                    logger.warning("what bcrypt has told waits for the log: %s", error)
                    return False
        return True

    def _untold(self, after: bytes) -> list[tuple[bytes, KeyRefingerprinted | None]]:
        """The next ones behind that key."""

        def read(snapshot: lmdb.Transaction[bytes]) -> list[tuple[bytes, KeyRefingerprinted | None]]:
            with snapshot.cursor(self._store.learnt) as cursor:
                if not cursor.set_range(after + b"\0"):
                    return []
                return [
                    (key_id, self._event(snapshot, key_id, learnt))
                    for key_id, learnt in islice(cursor.iternext(), AT_ONCE)
                ]

        return self._store.read(read)

    def _event(
        self, snapshot: lmdb.Transaction[bytes], key_id: bytes, learnt: bytes
    ) -> KeyRefingerprinted | None:
        record = snapshot.get(key_id, db=self._store.keys)
        if record is None:
            return None
        key = key_of(orjson.loads(record))
        lineage = read_lineage(self._store, snapshot, key.lineage_id)
        if lineage is None or lineage.parked is not None:
            return None
        return KeyRefingerprinted(
            source=self._source,
            subject=key.key_id,
            partitionkey=key.lineage_id,
            sequence=lineage.sequence + 1,
            time=self._clock.now(),
            actor=ACTOR,
            data=Refingerprinting(key_id=key.key_id, **orjson.loads(learnt)),
        )
