"""Which key is this, when no pepper of today finds it? bcrypt knows."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping
from typing import Protocol

from events.clock import Clock
from events.lineage import Key
from events.shown_keys import display_prefix
from services.api.directory.key_directory import KeyDirectory
from services.api.directory.key_facts import KeyFacts
from services.api.errors import HasherBusy
from services.api.metrics import Metrics
from services.api.validation.failed_tries import FailedTries
from services.api.validation.hashing import Hasher
from services.api.validation.key_material import Fingerprints, is_well_formed

PREFIX_TRIES = 5
#: Beyond so many an address waits behind all others; it may be that of a gateway, so it is not refused.
ADDRESS_TRIES = 20
TRIES_SECONDS = 60.0
#: A caller that has waited for so long is told to come again: sooner where it would wait among guesses.
PATIENCE_SECONDS = 3.0
SUSPICIOUS_PATIENCE_SECONDS = 0.8
LEARN_SECONDS = 0.5
#: More tries of an address wait behind all others too.
AT_ONCE = 2


class Follower(Protocol):
    """What the follower of the node is asked and told."""

    async def is_pepper_known(self, pepper_id: str) -> bool | None:
        """Whether any node was ever started with this pepper; None where nobody can tell."""
        ...

    async def learn(self, key_id: str, fingerprint: bytes) -> bool | None:
        """Let this fingerprint under the newest pepper find the key, here and everywhere."""
        ...


class BcryptFallback:
    """Finds keys whose pepper is lost or retired: by what is visible of them, then by bcrypt, once.

    bcrypt is slow, so a secret that is already being checked is not checked twice at once, and a visible
    prefix gets a few failed tries a minute; beyond them the answer is "not now", never "no". What was found
    out is told to the follower, so that neither this node nor any other has to find it out again.

    A key under a pepper that no node was ever started with was issued by nobody: whoever wrote it into the
    log may have chosen a secret and its hash. It never gets as far as bcrypt.
    """

    def __init__(
        self,
        directory: KeyDirectory,
        fingerprints: Fingerprints,
        follower: Follower,
        hasher: Hasher,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._directory = directory
        self._fingerprints = fingerprints
        self._follower = follower
        self._hasher = hasher
        self._clock = clock
        self._metrics = metrics
        self._under_way: dict[tuple[str, bytes], asyncio.Task[KeyFacts | None]] = {}
        self._of_prefixes = FailedTries(TRIES_SECONDS)
        self._of_addresses = FailedTries(TRIES_SECONDS)
        self._calm_under_way: Counter[str] = Counter()
        #: Secrets that there was no turn for.
        self._turned_away = FailedTries(TRIES_SECONDS)

    async def find(self, presented: bytes, address: str = "") -> KeyFacts | None:
        """The key with this secret, by bcrypt: only where a key exists that no pepper of today can find.

        `address` is that of whoever presents it. Raises `HasherBusy` when that can't be decided now.
        """
        if not is_well_formed(presented):
            return None
        prefix = display_prefix(presented.decode())
        if not self._candidates(prefix):
            return None
        attempt = (prefix, self._fingerprints.newest(presented))
        if (check := self._under_way.get(attempt)) is None:
            self._refuse_too_many_tries(prefix)
            check = asyncio.create_task(self._check(presented, *attempt, address))
            self._under_way[attempt] = check
            check.add_done_callback(lambda _: self._under_way.pop(attempt))
        # Shielded: a caller that hangs up must not cancel the check that others wait for.
        return await asyncio.shield(check)

    async def _check(
        self, presented: bytes, prefix: str, fingerprint: bytes, address: str
    ) -> KeyFacts | None:
        is_calm = self._is_calm(prefix, fingerprint, address)
        self._calm_under_way[address] += is_calm
        try:
            async with asyncio.timeout(PATIENCE_SECONDS if is_calm else SUSPICIOUS_PATIENCE_SECONDS):
                key = await self._try_all(presented, prefix, address, is_calm=is_calm)
        except (HasherBusy, TimeoutError):
            self._turned_away.add(fingerprint, self._clock.seconds())
            raise HasherBusy("too many keys are waiting to be checked") from None
        finally:
            self._calm_under_way[address] -= is_calm
            self._calm_under_way += Counter()  # forget the addresses that have none
        if key is None:
            return None
        with contextlib.suppress(TimeoutError):  # the key passes, whether or not it has to be found out again
            async with asyncio.timeout(LEARN_SECONDS):
                await self._follower.learn(key.key_id, fingerprint)
        return self._directory.facts(key.key_id)

    async def _try_all(self, presented: bytes, prefix: str, address: str, *, is_calm: bool) -> Key | None:
        is_tried = is_refused = False
        # Those of known peppers first: whether another one is known may have to be asked of the log.
        known = self._directory.declared_peppers() | self._fingerprints.known_ids
        for key in sorted(self._candidates(prefix).values(), key=lambda key: key.pepper_id not in known):
            if key.pepper_id not in known and not await self._is_issued(key):
                is_refused = True
                continue
            is_tried = True
            self._metrics.bcrypt_check()
            if await self._hasher.check(presented, key.bcrypt_hash, address, is_calm=is_calm):
                return key
        if is_tried:
            self._of_prefixes.add(prefix, self._clock.seconds())
            self._of_addresses.add(address, self._clock.seconds())
        if is_refused:
            self._metrics.unknown_pepper()
        return None

    def _is_calm(self, prefix: str, fingerprint: bytes, address: str) -> bool:
        """Whether this looks like no attack. Whoever guesses does not come back with the same secret."""
        now = self._clock.seconds()
        if self._turned_away.since(fingerprint, now):
            return True
        if self._calm_under_way[address] >= AT_ONCE or self._of_prefixes.since(prefix, now):
            return False
        return self._of_addresses.since(address, now) < ADDRESS_TRIES

    async def _is_issued(self, key: Key) -> bool:
        is_known = await self._follower.is_pepper_known(key.pepper_id)
        if is_known is None:
            raise HasherBusy("the log does not say which peppers there are")
        return is_known

    def _candidates(self, prefix: str) -> Mapping[str, Key]:
        """The keys that this may be. A dead one is not worth a bcrypt: it is refused either way."""
        now = self._clock.seconds()
        return {
            facts.key_id: key
            for facts in self._directory.unverifiable(prefix)
            if now < facts.active_until and (key := self._directory.key(facts.key_id)) is not None
        }

    def _refuse_too_many_tries(self, prefix: str) -> None:
        # Tries under way may fail yet: many at once are many tries.
        under_way = sum(other == prefix for other, _ in self._under_way)
        if self._of_prefixes.since(prefix, self._clock.seconds()) + under_way >= PREFIX_TRIES:
            raise HasherBusy("too many failed tries for keys that look like this")
