"""One file of a window's table: an open-addressing hash table of slots, mapped into memory."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

from services.api.limits.locks import STRIPES
from services.api.limits.slot import FREE, HIGH, KIND, LOW, WIDTH, Mark, Slot

#: The head: says that the file is a segment of this format, how many slots it has and how many are used.
#: Of a window's first file also: how many files there are, how many lineages, and whether some slot is due
#: that the follower was not told of.
_FORMAT, _SLOTS, USED, SEGMENTS, LINEAGES, HAS_UNTOLD = range(6)
_HEAD = 512
_FORMAT_NUMBER = 0x686F_6B75_7361_6901
_NUMBER_BYTES = 8
#: What is searched at once for a state.
_SEARCHED_BYTES = 1 << 16
#: A place is the number of the segment and the slot's index in it, plus one: no place is 0.
_INDEX_BITS = 40


class Segment:
    """A file of slots, as many as it says: a power of two. Raises `ValueError` where it is no segment."""

    def __init__(self, path: Path, number: int) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            if size < _HEAD * _NUMBER_BYTES:
                raise ValueError(f"{path} has no head")
            # Mapped until the last view of it is gone: whoever remembers a slot may use it.
            memory = memoryview(mmap.mmap(descriptor, size))
        finally:
            os.close(descriptor)
        self.head = memory[: _HEAD * _NUMBER_BYTES].cast("Q")
        self.slots = self.head[_SLOTS]
        if self.head[_FORMAT] != _FORMAT_NUMBER or size != _bytes(self.slots):
            raise ValueError(f"{path} has another format")
        self._number = number
        numbers_bytes = (_HEAD + self.slots * WIDTH) * _NUMBER_BYTES
        self._numbers = memory[_HEAD * _NUMBER_BYTES : numbers_bytes].cast("Q")
        self._states = memory[numbers_bytes:]

    @classmethod
    def create(cls, path: Path, number: int, slots: int) -> Segment:
        """Make an empty one under that name. Raises `OSError` where the disk has no room for all of it."""
        unfinished = path.with_suffix(".new")
        descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            # No hole: a process that writes to one on a full disk is killed.
            os.posix_fallocate(descriptor, 0, _bytes(slots))
            head = b"".join(part.to_bytes(_NUMBER_BYTES, "little") for part in (_FORMAT_NUMBER, slots, 0, 1))
            os.pwrite(descriptor, head, 0)
            unfinished.rename(path)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        return cls(path, number)

    @property
    def used(self) -> int:
        return self.head[USED]

    def find(self, kind: int, mark: Mark) -> Slot | None:
        """The slot of that lineage or key."""
        index = self._probe(kind, mark)
        return None if self._numbers[index * WIDTH] == FREE else self._slot(index)

    def add(self, kind: int, mark: Mark) -> Slot:
        """A new slot for it. For whoever holds the lock of changes, and has not found it."""
        index = self._probe(kind, mark)
        at = index * WIDTH
        self.head[USED] += 1
        self._numbers[at + HIGH], self._numbers[at + LOW] = mark
        self._numbers[at + KIND] = kind
        return self._slot(index)

    def at(self, place: int) -> Slot | None:
        """The slot at this place of the segment, if it is used."""
        index = index_of(place)
        if not 0 <= index < self.slots or self._numbers[index * WIDTH] == FREE:
            return None
        return self._slot(index)

    def in_state(self, state: int) -> Iterator[int]:
        """The places of all slots whose count is in this state."""
        wanted = bytes([state])
        for begin in range(0, self.slots, _SEARCHED_BYTES):
            states = bytes(self._states[begin : begin + _SEARCHED_BYTES])
            found = states.find(wanted)
            while found >= 0:
                yield self._place(begin + found)
                found = states.find(wanted, found + 1)

    def _probe(self, kind: int, mark: Mark) -> int:
        """The index that it has, or would take. Some slots are always free, so the search ends."""
        high, low = mark
        numbers, last = self._numbers, self.slots - 1
        index = low & last
        while (found := numbers[at := index * WIDTH]) != FREE:
            if numbers[at + LOW] == low and numbers[at + HIGH] == high and found == kind:
                break
            index = (index + 1) & last
        return index

    def _slot(self, index: int) -> Slot:
        at = index * WIDTH
        numbers = self._numbers[at : at + WIDTH]
        return Slot(numbers, self._states[index : index + 1], numbers[LOW] % STRIPES, self._place(index))

    def _place(self, index: int) -> int:
        return (self._number << _INDEX_BITS) + index + 1


def segment_of(place: int) -> int:
    """The number of the segment that the place is in."""
    return place >> _INDEX_BITS


def index_of(place: int) -> int:
    """Where in its segment the place is."""
    return (place & (1 << _INDEX_BITS) - 1) - 1


def _bytes(slots: int) -> int:
    return (_HEAD + slots * WIDTH) * _NUMBER_BYTES + slots
