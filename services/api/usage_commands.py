"""Record a use: one fact in the log, and an answer once the log has it."""

from __future__ import annotations

import asyncio
import math
import time

import uuid_utils

from events.clock import Clock
from events.codec import encode
from events.errors import LogUnavailable
from events.log import EventLog
from events.usage import KeyUsed, Usage
from events.usage_identity import content_of
from services.api.commands import Requester
from services.api.errors import KeyNotFound, ReadModelUnavailable, UsageConflict, UsageUnconfirmed
from services.api.key_existence import KeyExistence
from services.api.ports import UsageReadModels

#: Looking the key up and appending together, so that a caller is answered within five seconds.
RECORD_DEADLINE_SECONDS = 4.8
#: After read models that did not answer: a database that is away must not slow every report down.
PAUSE_SECONDS = 5.0


class UsageCommands:
    """Records that keys were used, whatever has become of them since: use of a revoked key counts as well."""

    def __init__(
        self,
        log: EventLog,
        topic: str,
        existence: KeyExistence,
        read_models: UsageReadModels,
        clock: Clock,
        source: str,
    ) -> None:
        self._log = log
        self._topic = topic
        self._existence = existence
        self._read_models = read_models
        self._asks_again_at = -math.inf
        self._clock = clock
        self._source = source

    async def record(self, use: Usage, event_id: str | None, user: Requester) -> None:
        """Return once the use is in the log, as the event with this id (None: a fresh one).

        A use that is reported again under its id within 35 days counts once. Raises `KeyNotFound`,
        `UsageUnconfirmed`, and `UsageConflict` where another use is known under the id. One that is not known
        yet, or cannot be looked up, is found by the projector.
        """
        event = KeyUsed(
            id=event_id or str(uuid_utils.uuid7()),
            source=self._source,
            subject=use.key_id,
            partitionkey=use.key_id,
            time=self._clock.now(),
            actor=user.actor,
            correlationid=user.correlation_id,
            data=use,
        )
        try:
            async with asyncio.timeout(RECORD_DEADLINE_SECONDS):
                exists = await self._existence.exists(use.key_id)
                if exists is False:
                    raise KeyNotFound
                if exists is None:
                    raise UsageUnconfirmed(event.id)
                if event_id is not None and await self._is_another(event):
                    raise UsageConflict
                await self._log.append(self._topic, use.key_id.encode(), encode(event))
        except (TimeoutError, LogUnavailable):
            raise UsageUnconfirmed(event.id) from None

    async def _is_another(self, event: KeyUsed) -> bool:
        """Whether what is known under this id states something else."""
        if time.monotonic() < self._asks_again_at:
            return False
        try:
            known = await self._read_models.content(event.data.key_id, event.id, event.time)
        except ReadModelUnavailable:
            self._asks_again_at = time.monotonic() + PAUSE_SECONDS
            return False
        return known is not None and known != content_of(event.data)
