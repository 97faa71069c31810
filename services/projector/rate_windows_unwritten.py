"""What Faust's table knows and Postgres does not yet: changed windows, and how far they follow the log."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from events.log import Mark
from events.log_marks import digest_of
from services.projector.rate_windows_counts import Window, WindowKey

#: So many counters may wait for Postgres: then no more are handled, so that memory has a ceiling.
MOST_WAITING = 50_000


class Message(Protocol):
    """A counter in the log, and when it was appended (seconds since 1970)."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> float: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


class Counted(Protocol):
    """A counter that was handled; acknowledged once Postgres has what it says."""

    @property
    def message(self) -> Message: ...
    def ack(self) -> bool: ...


class Stretch(NamedTuple):
    """Counters that were handled one after the other, from `first` up to (not including) `following`."""

    first: int
    following: int


@dataclass(frozen=True, slots=True)
class Changes:
    """Windows as they are, and by partition a stretch of the log: they include every counter of it.

    `counters` is how many handled counters they are made of, `since` when the first of them was appended.
    `marks`: of each partition, the last counter that was handled since the last time.
    """

    windows: Mapping[WindowKey, Window]
    stretches: Mapping[int, Stretch]
    counters: int
    since: float | None
    marks: Sequence[Mark] = ()

    @property
    def next_offsets(self) -> Mapping[int, int]:
        """Where each stretch ends."""
        return {partition: stretch.following for partition, stretch in self.stretches.items()}


class Unwritten:
    """Kept in order by a single thread: what is seen together was handled together.

    When partitions come, Faust may first hand out counters from beyond where it goes on then. So an offset
    is claimed only for what follows, without a gap, on what Postgres has.
    """

    def __init__(self, most_waiting: int = MOST_WAITING) -> None:
        self._windows: dict[WindowKey, Window] = {}
        self._stretches: dict[int, Stretch] = {}
        self._longer: set[int] = set()
        self._counters: deque[Counted] = deque()
        self._last: dict[int, Message] = {}
        #: By partition the offsets that were written here: the windows include every counter before them.
        self.included: dict[int, int] = {}
        self._most_waiting = most_waiting
        self._has_room = asyncio.Event()
        self._has_room.set()

    def add(self, counter: Counted, changed: tuple[WindowKey, Window] | None) -> None:
        """A counter was handled, and has changed this window, if any."""
        if changed is not None:
            key, window = changed
            self._windows[key] = window
        place = counter.message
        stretch = self._stretches.get(place.partition)
        if stretch is None or not stretch.first <= place.offset <= stretch.following:
            stretch = Stretch(place.offset, place.offset)
        self._stretches[place.partition] = Stretch(stretch.first, max(stretch.following, place.offset + 1))
        self._longer.add(place.partition)
        self._last[place.partition] = place
        self._counters.append(counter)
        if len(self._counters) >= self._most_waiting:
            self._has_room.clear()

    def add_all(self, windows: Iterable[tuple[WindowKey, Window]], next_offsets: Mapping[int, int]) -> None:
        """Postgres may know nothing of all these; they include every counter before these offsets."""
        self._windows = {**dict(windows), **self._windows}
        for partition, offset in next_offsets.items():
            stretch = self._stretches.get(partition, Stretch(0, offset))
            # What lies beyond comes again: it was not acknowledged.
            following = max(offset, stretch.following) if stretch.first <= offset else offset
            self._stretches[partition] = Stretch(0, following)
            self._longer.add(partition)

    async def room(self) -> None:
        """Wait until there is room for one more."""
        await self._has_room.wait()

    def changes(self) -> Changes:
        """All of it, to be written in one transaction; `written` afterwards."""
        since = self._counters[0].message.timestamp if self._counters else None
        stretches = {partition: self._stretches[partition] for partition in self._longer}
        marks = [_mark(self._last[partition]) for partition in sorted(self._last)]
        return Changes(dict(self._windows), stretches, len(self._counters), since, marks)

    def written(self, changes: Changes, passed: Collection[int]) -> None:
        """Postgres has these, and has passed these partitions' stretches: acknowledge the counters of those.

        The others come again. What has changed since is kept.
        """
        self._windows = {
            key: window for key, window in self._windows.items() if changes.windows.get(key) is not window
        }
        for partition, stretch in changes.stretches.items():
            if partition in passed:
                self.included[partition] = stretch.following
            if self._stretches[partition] == stretch:
                self._longer.discard(partition)
        for mark in changes.marks:
            if self._last[mark.partition].offset == mark.offset:
                del self._last[mark.partition]
        for _ in range(changes.counters):
            counter = self._counters.popleft()
            if counter.message.partition in passed:
                counter.ack()
        self._has_room.set()


def _mark(message: Message) -> Mark:
    appended_ms = round(message.timestamp * 1000)
    digest = digest_of(message.key, message.value)
    return Mark(message.topic, message.partition, message.offset, appended_ms, digest)
