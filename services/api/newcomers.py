"""Keys that another node has created a moment ago, and this worker is about to hear of."""

from __future__ import annotations

import asyncio

from events.errors import LogUnavailable
from events.log import LogReader
from services.api.directory import KeyDirectory
from services.api.follower import Follower

#: All who ask within this time share one question to the log, so that a flood of made-up ids costs little.
GATHER_SECONDS = 0.05
PATIENCE_SECONDS = 1.0
POLL_SECONDS = 0.005


class Newcomers:
    """Tells ids that belong to no key from those of keys whose creation has not come here yet."""

    def __init__(self, reader: LogReader, follower: Follower, directory: KeyDirectory) -> None:
        self._reader = reader
        self._follower = follower
        self._directory = directory
        self._gathering: asyncio.Task[bool] | None = None

    async def knows(self, key_id: str) -> bool | None:
        """Whether there is such a key in the log as it is now; None where that can't be told in a second."""
        if key_id in self._directory:
            return True
        if self._gathering is None:
            self._gathering = asyncio.create_task(self._catch_up())
        # Shielded: others wait for the same answer.
        is_up_to_date = await asyncio.shield(self._gathering)
        is_known = key_id in self._directory
        return is_known or (False if is_up_to_date else None)

    async def _catch_up(self) -> bool:
        """Whether all that the log held when asked is applied now."""
        await asyncio.sleep(GATHER_SECONDS)
        self._gathering = None  # who comes from here on may ask for a key that is newer than the answer
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                ends = await self._reader.end_offsets(PATIENCE_SECONDS)
                while any(self._follower.applied.get(partition, 0) < end for partition, end in ends.items()):
                    await asyncio.sleep(POLL_SECONDS)
        except (TimeoutError, LogUnavailable):
            return False
        return True
