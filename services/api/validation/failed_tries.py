"""How often somebody has failed lately."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

#: Whoever failed longest ago is forgotten beyond it.
MOST_NAMES = 10_000


class FailedTries:
    """By name the times of the failures within so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._times: dict[Hashable, deque[float]] = {}

    def since(self, name: Hashable, now_seconds: float) -> int:
        """How many there were within the time before now."""
        times = self._times.get(name)
        if times is None:
            return 0
        while times and times[0] <= now_seconds - self._seconds:
            times.popleft()
        if not times:
            del self._times[name]
        return len(times)

    def add(self, name: Hashable, now_seconds: float) -> None:
        times = self._times.pop(name, None) or deque()
        times.append(now_seconds)
        self._times[name] = times
        if len(self._times) > MOST_NAMES:
            del self._times[next(iter(self._times))]
