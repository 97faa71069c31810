"""What Faust's table knows and Postgres does not yet: changed windows, and how far they follow the log."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from services.projector.rate_windows_counts import Window, WindowKey

#: So many counters may wait for Postgres: then no more are handled, so that memory has a ceiling.
MOST_WAITING = 50_000


class Message(Protocol):
    """Where a counter stands in the log, and when it was appended (seconds since 1970)."""

    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> float: ...


class Counted(Protocol):
    """A counter that was handled; acknowledged once Postgres has what it says."""

    @property
    def message(self) -> Message: ...
    def ack(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Changes:
    """Windows as they are, and by partition an offset: they include every counter before it.

    `counters` is how many handled counters they are made of, `since` when the first of them was appended.
    """

    windows: Mapping[WindowKey, Window]
    next_offsets: Mapping[int, int]
    counters: int
    since: float | None


class Unwritten:
    """Kept in order by a single thread: what is seen together was handled together."""

    def __init__(self, most_waiting: int = MOST_WAITING) -> None:
        self._windows: dict[WindowKey, Window] = {}
        self._next_offsets: dict[int, int] = {}
        self._counters: deque[Counted] = deque()
        #: By partition the offsets that were written here.
        self.included: dict[int, int] = {}
        self._most_waiting = most_waiting
        self._has_room = asyncio.Event()
        self._has_room.set()

    def add(self, counter: Counted, changed: tuple[WindowKey, Window] | None) -> None:
        """A counter was handled, and has changed this window, if any."""
        if changed is not None:
            key, window = changed
            self._windows[key] = window
        self._next_offsets[counter.message.partition] = counter.message.offset + 1
        self._counters.append(counter)
        if len(self._counters) >= self._most_waiting:
            self._has_room.clear()

    def add_all(self, windows: Iterable[tuple[WindowKey, Window]], next_offsets: Mapping[int, int]) -> None:
        """Postgres may know nothing of all these."""
        self._windows = {**dict(windows), **self._windows}
        self._next_offsets = {**next_offsets, **self._next_offsets}

    async def room(self) -> None:
        """Wait until there is room for one more."""
        await self._has_room.wait()

    def changes(self) -> Changes:
        """All of it, to be written in one transaction; `written` afterwards."""
        since = self._counters[0].message.timestamp if self._counters else None
        return Changes(dict(self._windows), dict(self._next_offsets), len(self._counters), since)

    def written(self, changes: Changes) -> None:
        """Postgres has these: acknowledge their counters, keep what has changed again since."""
        self._windows = {
            key: window for key, window in self._windows.items() if changes.windows.get(key) is not window
        }
        self.included |= changes.next_offsets
        self._next_offsets = {
            partition: offset
            for partition, offset in self._next_offsets.items()
            if changes.next_offsets.get(partition) != offset
        }
        for _ in range(changes.counters):
            self._counters.popleft().ack()
        self._has_room.set()
