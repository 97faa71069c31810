"""Which key is this, when no pepper of today finds it? bcrypt knows."""

from __future__ import annotations

import asyncio

from events.clock import Clock
from events.errors import LogUnavailable
from events.lineage import Key
from events.shown_keys import display_prefix
from services.api.directory import KeyDirectory
from services.api.errors import HasherBusy
from services.api.known_key import KnownKey
from services.api.metrics import Metrics
from services.api.validation.hashing import Hasher
from services.api.validation.key_material import Fingerprints, is_well_formed
from services.api.validation.known_peppers import KnownPeppers

FAILED_TRIES = 5
FAILED_TRIES_SECONDS = 60.0


class BcryptFallback:
    """Finds keys whose pepper is lost or retired: by what is visible of them, then by bcrypt, once.

    bcrypt is slow, so a secret that is already being checked is not checked twice at once, and a visible
    prefix gets a few failed tries a minute; beyond them the answer is "not now", never "no".

    A key under a pepper that no node was ever started with was issued by nobody: whoever wrote it into the
    log may have chosen a secret and its hash. It never gets as far as bcrypt.
    """

    def __init__(
        self,
        directory: KeyDirectory,
        fingerprints: Fingerprints,
        peppers: KnownPeppers,
        hasher: Hasher,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._directory = directory
        self._fingerprints = fingerprints
        self._peppers = peppers
        self._hasher = hasher
        self._clock = clock
        self._metrics = metrics
        self._under_way: dict[tuple[str, bytes], asyncio.Task[KnownKey | None]] = {}
        self._failures: dict[str, list[float]] = {}

    async def find(self, presented: bytes) -> KnownKey | None:
        """The key with this secret, by bcrypt: only where a key exists that no pepper of today can find.

        Raises `HasherBusy` when that can't be decided now.
        """
        if not is_well_formed(presented):
            return None
        prefix = display_prefix(presented.decode())
        if not self._candidates(prefix):
            return None
        attempt = (prefix, self._fingerprints.newest(presented))
        if (check := self._under_way.get(attempt)) is None:
            self._refuse_too_many_tries(prefix)
            check = self._under_way[attempt] = asyncio.create_task(self._check(presented, *attempt))
            check.add_done_callback(lambda _: self._under_way.pop(attempt))
        # Shielded: a caller that hangs up must not cancel the check that others wait for.
        return await asyncio.shield(check)

    async def _check(self, presented: bytes, prefix: str, fingerprint: bytes) -> KnownKey | None:
        is_tried = is_refused = False
        # Those of known peppers first: whether another one is known may have to be asked of the log.
        for known in sorted(self._candidates(prefix), key=self._is_under_new_pepper):
            key = self._directory.key(known.key_id)
            if not await self._is_issued(key):
                is_refused = True
                continue
            is_tried = True
            self._metrics.bcrypt_check()
            if await self._hasher.check(presented, key.bcrypt_hash):
                self._directory.remember(fingerprint, known)
                return known
        if is_tried:
            self._failures.setdefault(prefix, []).append(self._clock.seconds())
        if is_refused:
            self._metrics.unknown_pepper()
        return None

    def _is_under_new_pepper(self, known: KnownKey) -> bool:
        return self._directory.key(known.key_id).pepper_id not in self._peppers

    async def _is_issued(self, key: Key) -> bool:
        try:
            return await self._peppers.include(key.pepper_id)
        except LogUnavailable:
            raise HasherBusy("the log does not say which peppers there are") from None

    def _candidates(self, prefix: str) -> list[KnownKey]:
        """The keys that this may be. A dead one is not worth a bcrypt: it is refused either way."""
        now = self._clock.seconds()
        return [known for known in self._directory.unverifiable(prefix) if now < known.active_until]

    def _refuse_too_many_tries(self, prefix: str) -> None:
        since = self._clock.seconds() - FAILED_TRIES_SECONDS
        recent = [at for at in self._failures.get(prefix, ()) if at > since]
        # Only prefixes of existing keys ever get here, so this can't grow beyond them.
        self._failures[prefix] = recent
        # Tries under way may fail yet: many at once are many tries.
        under_way = sum(other == prefix for other, _ in self._under_way)
        if len(recent) + under_way >= FAILED_TRIES:
            raise HasherBusy("too many failed tries for keys that look like this")
