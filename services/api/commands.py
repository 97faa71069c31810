"""Create, rotate, revoke: append one fact to the log and await what the log makes of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import uuid4

from events.clock import Clock
from events.codec import encode
from events.errors import LogUnavailable
from events.keys import IssuedKey, KeyCreated, KeyEvent, KeyRevoked, KeyRotated, Revocation, Rotation
from events.lifecycle import named_keys
from events.lineage import Key, KeySettings, Lineage
from events.log import EventLog, Position
from events.shown_keys import display_prefix
from services.api.directory.key_directory import KeyDirectory
from services.api.directory.store_progress import StoreProgress
from services.api.errors import CallerGone, KeyNotFound, OutcomeUnknown, WriteConflict
from services.api.metrics import Metrics
from services.api.validation.hashing import Hasher
from services.api.validation.key_material import Fingerprints, generate_key

logger = logging.getLogger(__name__)

T = TypeVar("T")

LOST_RACE = "API key was changed at the same time"

#: Append and wait together.
WRITE_SECONDS = 4.8
#: The same after hashing, which has a limit of its own: today's callers wait ten seconds for a new key.
ANSWER_SECONDS = 9.5

#: Of a change whose place in the lineage others take.
ATTEMPTS = 3

#: A write on its way: where its record stands once it is in the store.
Append = asyncio.Task[Position]


async def _never() -> None:
    await asyncio.get_running_loop().create_future()


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asks for a change, from where, and the request it belongs to. `hung_up` returns once it is gone."""

    actor: str
    correlation_id: str
    address: str = ""
    hung_up: Callable[[], Awaitable[object]] = field(default=_never, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Issue:
    """A key that has just been issued. `secret` is the full key: it goes into one answer and nowhere else."""

    secret: str
    key: Key

    def __repr__(self) -> str:
        return f"Issue(key_id={self.key.key_id!r})"


class _RaceLost(Exception):
    """Another event has taken the place of this one in its lineage."""


class KeyCommands:
    """The three changes of a key's life. The log decides races; no database is involved."""

    def __init__(
        self,
        log: EventLog,
        topic: str,
        directory: KeyDirectory,
        hasher: Hasher,
        fingerprints: Fingerprints,
        clock: Clock,
        metrics: Metrics,
        source: str,
    ) -> None:
        self._log = log
        self._topic = topic
        self._directory = directory
        self._hasher = hasher
        self._fingerprints = fingerprints
        self._clock = clock
        self._metrics = metrics
        self._source = source
        self._progress = StoreProgress(directory.positions)
        self._unconfirmed: dict[str, Append] = {}

    async def create(self, settings: KeySettings, user: Requester) -> Issue:
        """Issue the first key of a new lineage. Raises `OutcomeUnknown`, `HasherBusy`, `CallerGone`."""
        deadline = time.monotonic() + ANSWER_SECONDS
        key_id = str(uuid4())
        secret, issued = await self._issue(key_id, key_id, settings, user)
        event = KeyCreated(
            source=self._source,
            subject=key_id,
            partitionkey=key_id,
            sequence=1,
            time=self._clock.now(),
            actor=user.actor,
            correlationid=user.correlation_id,
            data=issued,
        )

        async def attempt() -> Key:
            return await self._issued_by(event, issued, deadline)

        return Issue(secret, await self._again_after_losing(attempt))

    async def rotate(self, key_id: str, grace: timedelta, user: Requester) -> Issue:
        """Replace the current key of a lineage; the old secret lives on for `grace`, at most to its expiry.

        Raises `KeyNotFound`, `WriteConflict` for a key that is revoked or replaced or lost a race,
        `OutcomeUnknown`, `HasherBusy`, `CallerGone`.
        """
        deadline = time.monotonic() + ANSWER_SECONDS
        old, lineage = self._rotatable(key_id)
        secret, issued = await self._issue(str(uuid4()), lineage.lineage_id, old.settings, user)

        async def attempt() -> Issue:
            # What may have happened meanwhile decides, and gives the sequence.
            old, lineage = self._rotatable(key_id)
            now = self._clock.now()
            event = KeyRotated(
                source=self._source,
                subject=key_id,
                partitionkey=lineage.lineage_id,
                sequence=lineage.sequence + 1,
                time=now,
                actor=user.actor,
                correlationid=user.correlation_id,
                data=Rotation(key_id=key_id, new_key=issued, valid_until=_end_of_grace(old, now, grace)),
            )
            return Issue(secret, await self._issued_by(event, issued, deadline))

        return await self._again_after_losing(attempt)

    async def revoke(self, key_id: str, user: Requester) -> None:
        """End a key; the current key of a lineage takes the others along. A dead key needs no further fact.

        Raises `KeyNotFound`, `WriteConflict`, `OutcomeUnknown`.
        """
        deadline = time.monotonic() + WRITE_SECONDS
        before: Key | None = None

        async def attempt() -> None:
            nonlocal before
            key, lineage = self._changeable(key_id)
            before = before or key
            if key.superseded_by != before.superseded_by and key.revoked_at is None:
                # It was rotated meanwhile: who asked for this believed it to be current.
                raise WriteConflict(LOST_RACE)
            if not key.is_active(self._clock.now()):
                return
            event = KeyRevoked(
                source=self._source,
                subject=key_id,
                partitionkey=lineage.lineage_id,
                sequence=lineage.sequence + 1,
                time=self._clock.now(),
                actor=user.actor,
                correlationid=user.correlation_id,
                data=Revocation(key_id=key_id, reason="requested"),
            )
            after = (await self._write(event, key_id, deadline)).find(key_id)
            if after is None or after.revoked_at is None:
                raise _RaceLost

        await self._again_after_losing(attempt)

    async def _issue(
        self, key_id: str, lineage_id: str, settings: KeySettings, user: Requester
    ) -> tuple[str, IssuedKey]:
        """A fresh secret, and the key as the log may know it."""
        secret = generate_key(settings.environment)
        bcrypt_hash = await _unless_gone(user, self._hasher.hash(secret, f"{user.actor} {user.address}"))
        days = settings.lifetime_days
        issued_at = self._clock.now().replace(microsecond=0)
        return secret, IssuedKey(
            key_id=key_id,
            lineage_id=lineage_id,
            **settings._asdict(),
            expires_at=None if days is None else issued_at + timedelta(days=days),
            key_prefix=display_prefix(secret),
            bcrypt_hash=bcrypt_hash,
            fingerprint=self._fingerprints.newest(secret.encode()).hex(),
            pepper_id=self._fingerprints.newest_id,
        )

    def _changeable(self, key_id: str) -> tuple[Key, Lineage]:
        lineage = self._directory.lineage_of(key_id)
        key = lineage.find(key_id) if lineage else None
        if lineage is None or key is None:
            raise KeyNotFound
        if lineage.parked is not None:
            raise WriteConflict("API key is parked: its history needs a rebuild")
        return key, lineage

    def _rotatable(self, key_id: str) -> tuple[Key, Lineage]:
        key, lineage = self._changeable(key_id)
        if key.revoked_at is not None:
            raise WriteConflict("API key has been revoked")
        if key.superseded_by is not None:
            raise WriteConflict("API key has already been rotated")
        return key, lineage

    async def _issued_by(self, event: KeyEvent, issued: IssuedKey, deadline: float) -> Key:
        """The key that the event has issued."""
        lineage = await self._write(event, issued.key_id, deadline)
        key = lineage.find(issued.key_id)
        if key is None:
            raise _RaceLost
        return key

    async def _again_after_losing(self, attempt: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What comes of the attempt. A race that was lost to what is not in its way is run again.

        Another event of the lineage may change nothing that matters here: a fingerprint, or an older key.
        """
        for _ in range(ATTEMPTS):
            try:
                return await attempt()
            except _RaceLost:
                continue
        raise WriteConflict(LOST_RACE)

    async def _write(self, event: KeyEvent, key_id: str, deadline: float) -> Lineage:
        """Append the event, wait until the node's store includes it, and read what has become of its lineage.

        All workers of the node answer from the store, so none can hold a write up.
        """
        began = time.monotonic()
        try:
            async with asyncio.timeout(min(WRITE_SECONDS, deadline - began)):
                append = await self._turn(event)
                # Shielded: what is on its way to the log arrives, whether or not the caller still waits.
                await asyncio.shield(append)
        except (TimeoutError, LogUnavailable):
            raise OutcomeUnknown(key_id) from None
        self._metrics.write(time.monotonic() - began)
        lineage = self._directory.lineage(event.partitionkey, named_keys(event))
        if lineage is None or lineage.parked is not None:
            raise WriteConflict(LOST_RACE)
        return lineage

    async def _turn(self, event: KeyEvent) -> Append:
        """Start appending once no other write to the lineage is unconfirmed; one at a time."""
        lineage_id, has_waited = event.partitionkey, False
        while (other := self._unconfirmed.get(lineage_id)) is not None:
            await asyncio.wait([other])
            has_waited = True
        lineage = self._directory.lineage(lineage_id) if has_waited else None
        if lineage is not None and lineage.sequence >= event.sequence:
            raise _RaceLost
        append = self._unconfirmed[lineage_id] = asyncio.create_task(self._append(event))
        append.add_done_callback(lambda task: self._confirmed(lineage_id, task))
        return append

    async def _append(self, event: KeyEvent) -> Position:
        position = await self._log.append(self._topic, event.partitionkey.encode(), encode(event))
        await self._progress.passed(position)
        return position

    def _confirmed(self, lineage_id: str, append: Append) -> None:
        del self._unconfirmed[lineage_id]
        # Asking for the error marks it as seen, also where the caller has given up.
        if not append.cancelled() and (error := append.exception()) is not None:
            logger.warning("an append to lineage %s failed: %s", lineage_id, error)


async def _unless_gone(user: Requester, work: Coroutine[Any, Any, T]) -> T:
    """What comes of the work; when the caller hangs up it is cancelled. Raises `CallerGone` then."""
    working = asyncio.create_task(work)
    hanging_up = asyncio.ensure_future(user.hung_up())
    try:
        await asyncio.wait({working, hanging_up}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise CallerGone
        return working.result()
    finally:
        working.cancel()
        hanging_up.cancel()


def _end_of_grace(old: Key, now: datetime, grace: timedelta) -> datetime | None:
    """When the old secret ends; None where it ends at once, whatever any clock says."""
    if not grace:
        return None
    return now + grace if old.expires_at is None else min(now + grace, old.expires_at)
