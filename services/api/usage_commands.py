"""Record a use: one fact in the log, and an answer once the log has it."""

from __future__ import annotations

import asyncio

import uuid_utils

from events.clock import Clock
from events.codec import encode
from events.errors import LogUnavailable
from events.log import EventLog
from events.usage import KeyUsed, Usage
from services.api.commands import Requester
from services.api.errors import KeyNotFound, UsageUnconfirmed
from services.api.newcomers import Newcomers

#: Looking the key up and appending together, so that a caller is answered within five seconds.
RECORD_DEADLINE_SECONDS = 4.8


class UsageCommands:
    """Records that keys were used, whatever has become of them since: use of a revoked key counts as well."""

    def __init__(self, log: EventLog, topic: str, newcomers: Newcomers, clock: Clock, source: str) -> None:
        self._log = log
        self._topic = topic
        self._newcomers = newcomers
        self._clock = clock
        self._source = source

    async def record(self, use: Usage, event_id: str | None, user: Requester) -> None:
        """Return once the use is in the log, as the event with this id (None: a fresh one).

        A use that is reported again under its id counts once. Raises `KeyNotFound`, `UsageUnconfirmed`.
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
                is_known = await self._newcomers.knows(use.key_id)
                if is_known is False:
                    raise KeyNotFound
                if is_known is None:
                    raise UsageUnconfirmed(event.id)
                await self._log.append(self._topic, use.key_id.encode(), encode(event))
        except (TimeoutError, LogUnavailable):
            raise UsageUnconfirmed(event.id) from None
