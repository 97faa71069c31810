"""What a node has counted in one window: a table that all its processes map into memory.

It grows by a further file, twice as large as the last. No slot ever moves: nobody waits while a table is
copied, no copy can be left half done, and a process may remember where a lineage's slot is.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from time import monotonic

from services.api.limits.errors import NoRoomForCounts
from services.api.limits.locks import Locks
from services.api.limits.segment import HAS_UNTOLD, LINEAGES, SEGMENTS, Segment, segment_of
from services.api.limits.slot import DUE, KIND, LINEAGE, UNPUBLISHED, Mark, Slot

logger = logging.getLogger(__name__)
#: A table that could not grow tries again after so long, or once it is full.
RETRY_SECONDS = 10.0


class WindowTable:
    """One window of the node. It is made where it is not there."""

    def __init__(self, folder: Path, name: str, number: int, locks: Locks, first_slots: int) -> None:
        self.number = number
        self._folder = folder
        self._name = name
        self._locks = locks
        self._first_slots = first_slots
        self._retry_at_seconds = 0.0
        self._segments: list[Segment] = []
        if not self._open():
            with locks.changes():
                if not self._open():
                    self._create()

    @property
    def slots(self) -> int:
        self._open_new()
        return sum(segment.slots for segment in self._segments)

    @property
    def used(self) -> int:
        """How many slots are taken; of keys that are not the last ones of their lineages as well."""
        self._open_new()
        return sum(segment.used for segment in self._segments)

    @property
    def lineages(self) -> int:
        return self._segments[0].head[LINEAGES]

    def find(self, kind: int, mark: Mark) -> Slot | None:
        """The slot of a lineage or key."""
        self._open_new()
        for segment in reversed(self._segments):
            if (slot := segment.find(kind, mark)) is not None:
                return slot
        return None

    def find_or_add(self, kind: int, mark: Mark) -> Slot:
        """Its slot, new where it had none. Raises `NoRoomForCounts`."""
        if (slot := self.find(kind, mark)) is not None:
            return slot
        with self._locks.changes():
            if (slot := self.find(kind, mark)) is not None:
                return slot
            segment = self._segment_with_room()
            if kind == LINEAGE:
                self._segments[0].head[LINEAGES] += 1
            return segment.add(kind, mark)

    def at(self, kind: int, place: int) -> Slot | None:
        """The slot of that kind at that place; None where there is none."""
        self._open_new()
        if segment_of(place) >= len(self._segments):
            return None
        slot = self._segments[segment_of(place)].at(place)
        return slot if slot is not None and slot.numbers[KIND] == kind else None

    def locked(self, slot: Slot) -> AbstractContextManager[None]:
        """Nobody else changes the slot's counts meanwhile."""
        return self._locks.stripe(slot.stripe)

    def due(self) -> Iterator[int]:
        """The places of lineages whose count is due for publishing."""
        return self._in_states(DUE)

    def unpublished(self) -> Iterator[int]:
        """The places of lineages with admissions that the log may not have."""
        return self._in_states(DUE, UNPUBLISHED)

    def tell_by_scan(self) -> None:
        """Have the follower look for slots that are due. Call it after such a slot was marked."""
        self._segments[0].head[HAS_UNTOLD] = 1

    def take_untold(self) -> bool:
        """Whether slots may be due that the follower was not told of, once. Look for them afterwards."""
        head = self._segments[0].head
        has_untold = head[HAS_UNTOLD] == 1
        head[HAS_UNTOLD] = 0
        return has_untold

    def _in_states(self, *states: int) -> Iterator[int]:
        self._open_new()
        for segment in self._segments:
            for state in states:
                yield from segment.in_state(state)

    def _segment_with_room(self) -> Segment:
        """The newest one up to half of its slots: beyond, searches get long."""
        newest = self._segments[-1]
        is_full = newest.used >= newest.slots // 8 * 7
        if newest.used < newest.slots // 2 or not (is_full or monotonic() >= self._retry_at_seconds):
            return newest
        try:
            return self._create()
        except NoRoomForCounts as error:
            if is_full:
                raise
            logger.error("%s; searches in the table get slower", error)  # noqa: TRY400
            self._retry_at_seconds = monotonic() + RETRY_SECONDS
            return newest

    def _create(self) -> Segment:
        """Add a file. For whoever holds the lock of changes; one that nobody counts yet is written anew."""
        number = len(self._segments)
        slots = self._segments[-1].slots * 2 if number else self._first_slots
        try:
            segment = Segment.create(self._path(number), number, slots)
        except OSError as error:
            raise NoRoomForCounts(f"no room for counts of rate limits in {self._folder}: {error}") from error
        self._segments.append(segment)
        self._segments[0].head[SEGMENTS] = number + 1
        return segment

    def _open(self) -> bool:
        """Open all files. False where one is missing or, after a power failure, is not what was written."""
        try:
            self._segments = [Segment(self._path(0), 0)]
            self._open_new()
        except (FileNotFoundError, ValueError):
            self._segments = []
        return bool(self._segments)

    def _open_new(self) -> None:
        """Open the files that other processes have added."""
        while (number := len(self._segments)) < self._segments[0].head[SEGMENTS]:
            self._segments.append(Segment(self._path(number), number))

    def _path(self, segment: int) -> Path:
        return self._folder / f"{self._name}.{segment}"
