"""Whether this worker can answer, and whether what it depends on is there."""

from __future__ import annotations

from services.api.directory.freshness import Freshness
from services.api.ports import ReadModels

#: The log is asked every second where it ends; after this long without an answer it counts as away.
SILENCE_SECONDS = 3.0


class Health:
    """Two questions: may validation answer, and is every dependency there."""

    def __init__(self, freshness: Freshness, read_models: ReadModels, max_staleness_seconds: float) -> None:
        self._freshness = freshness
        self._read_models = read_models
        self._max_staleness_seconds = max_staleness_seconds

    @property
    def is_stale(self) -> bool:
        """The node is out of touch with the log for so long that a revocation might have been missed."""
        return self._freshness.staleness_seconds > self._max_staleness_seconds

    async def checks(self) -> dict[str, bool]:
        """Each dependency, and whether it is there."""
        return {
            "database": await self._read_models.is_reachable(),
            "kafka": self._freshness.silence_seconds < SILENCE_SECONDS,
            "log": self._freshness.is_our_log,
            "directory": not self.is_stale,
        }
