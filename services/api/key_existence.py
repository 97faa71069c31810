"""Whether there is a key with this id, also one that another node has created a moment ago."""

from __future__ import annotations

from typing import Protocol

from services.api.directory.key_directory import KeyDirectory


class AsksTheLog(Protocol):
    """What the follower of the node is asked."""

    async def is_caught_up(self) -> bool | None:
        """Whether all that the log held when asked is in the store now; None where nobody can tell."""
        ...


class KeyExistence:
    """Tells ids that belong to no key from those of keys whose creation has not come here yet."""

    def __init__(self, directory: KeyDirectory, follower: AsksTheLog) -> None:
        self._directory = directory
        self._follower = follower

    async def exists(self, key_id: str) -> bool | None:
        """Whether there is such a key in the log as it is now; None where that can't be told in a second."""
        if key_id in self._directory:
            return True
        is_caught_up = await self._follower.is_caught_up()
        if key_id in self._directory:
            return True
        return False if is_caught_up else None
