"""What time it is, for everything that must not go backwards: expiry, grace, windows."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime


class Clock:
    """Wall time at start, advanced by the monotonic clock: a stepped system clock revives nothing.

    One a process. `floor` keeps a process that starts under a wrong system clock from living in the past.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic = monotonic
        self._offset = wall() - monotonic()

    def seconds(self) -> float:
        """Seconds since 1970, UTC."""
        return self._monotonic() + self._offset

    def now(self) -> datetime:
        """The same moment as an aware UTC datetime."""
        return datetime.fromtimestamp(self.seconds(), UTC)

    def floor(self, seconds: float) -> None:
        """It is at least this late: the log says so. Never moves the clock backwards."""
        self._offset = max(self._offset, seconds - self._monotonic())
