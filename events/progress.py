"""Does it get on? How far behind each partition is in time, and whether anything holds it up."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from events.clock import boottime

#: Longer than a batch takes, a rebalance, or a short outage.
STUCK_SECONDS = 30.0


@dataclass(slots=True)
class _Standing:
    """Of one partition. `since`: when it last got on, or was level with the log."""

    since: float
    is_behind: bool = True
    has_moved: bool = False
    head_seconds: float | None = None


class Progress:
    """What is known of the partitions that this process has to apply."""

    def __init__(
        self, monotonic: Callable[[], float] = boottime, wall: Callable[[], float] = time.time
    ) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._standings: dict[int, _Standing] = {}

    def advanced(self, partition: int) -> None:
        """A batch of it was applied."""
        standing = self._of(partition)
        standing.since, standing.has_moved, standing.head_seconds = self._monotonic(), True, None

    def holds_up(self, partition: int, appended_ms: int) -> None:
        """The first record that is not applied was appended then (ms since 1970, UTC)."""
        self._of(partition).head_seconds = appended_ms / 1000

    def seen(self, partition: int, lag_records: int | None) -> None:
        """How many records it is behind the log's end; None: it is ours to claim, so nobody knows."""
        standing = self._of(partition)
        standing.is_behind = lag_records != 0
        if not standing.is_behind:
            standing.since, standing.has_moved, standing.head_seconds = self._monotonic(), True, None

    def lost(self, partition: int) -> None:
        """It is another process's now."""
        self._standings.pop(partition, None)

    def oldest_unapplied_seconds(self, partition: int) -> float:
        """How old the first record is that is not applied yet; 0 where all are.

        By the broker's time where the record is in hand, else the time since the partition last got on.
        """
        standing = self._of(partition)
        if not standing.is_behind:
            return 0.0
        waited = self._monotonic() - standing.since
        return waited if standing.head_seconds is None else max(waited, self._wall() - standing.head_seconds)

    @property
    def is_stuck(self) -> bool:
        """Whether a partition is behind and has not got on for half a minute, or not yet since the start.

        Not yet since the start, because a process that fails over and over would look fine in between.
        """
        latest = self._monotonic() - STUCK_SECONDS
        return any(
            standing.is_behind and (standing.since < latest or not standing.has_moved)
            for standing in self._standings.values()
        )

    def _of(self, partition: int) -> _Standing:
        return self._standings.setdefault(partition, _Standing(self._monotonic()))
