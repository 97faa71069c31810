"""Waiting until the node's store includes a record: one look for all who wait, however many they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from events.log import Position

#: While they wait only for a moment, as nearly always; and once the follower seems to be away.
POLL_SECONDS = 0.001
SLOW_POLL_SECONDS = 0.05
SOON_SECONDS = 1.0


class StoreProgress:
    """Looks at the store's offsets as long as somebody waits."""

    def __init__(self, positions: Callable[[], Mapping[int, int]]) -> None:
        self._positions = positions
        self._waiting: dict[asyncio.Future[None], Position] = {}
        self._looking: asyncio.Task[None] | None = None

    async def passed(self, position: Position) -> None:
        """Return once the store includes the record that stands there. The caller sets the deadline."""
        if self._has_passed(position, self._positions()):
            return
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[waiting] = position
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            await waiting
        finally:
            self._waiting.pop(waiting, None)

    async def _look(self) -> None:
        looks = 0
        while self._waiting:
            positions = self._positions()
            for waiting, position in list(self._waiting.items()):
                if not waiting.done() and self._has_passed(position, positions):
                    waiting.set_result(None)
                    looks = 0
            looks += 1
            is_soon = looks < SOON_SECONDS / POLL_SECONDS
            await asyncio.sleep(POLL_SECONDS if is_soon else SLOW_POLL_SECONDS)

    def _has_passed(self, position: Position, positions: Mapping[int, int]) -> bool:
        return positions.get(position.partition, 0) > position.offset
