"""The processes of one node, its workers and its follower, and what each has counted for the metrics.

They share a folder. Each sits on a seat, a file of 64-bit numbers that all of them map into memory. A process
holds a lock on its seat while it lives, so a seat is free the moment it is gone; the next one takes it over
and counts on from where it stands.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Iterator
from itertools import count, takewhile
from pathlib import Path

NUMBER_BYTES = 8


class Seat:
    """The numbers of one process."""

    def __init__(self, path: Path, counters: int) -> None:
        size = counters * NUMBER_BYTES
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if os.fstat(self._file).st_size < size:
            # Not a hole in a file: writing to one on a full disk would kill the process.
            os.posix_fallocate(self._file, 0, size)
        self.counters = memoryview(mmap.mmap(self._file, size)).cast("q")

    def take(self) -> bool:
        """Sit down, unless somebody else sits here."""
        return self._lock(fcntl.LOCK_EX)

    @property
    def is_taken(self) -> bool:
        """Whether a living process sits here. Ask about other seats only, never one's own."""
        if not self._lock(fcntl.LOCK_SH):
            return True
        fcntl.flock(self._file, fcntl.LOCK_UN)
        return False

    def leave(self) -> None:
        """Give the seat up; its numbers stay."""
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def _lock(self, kind: int) -> bool:
        try:
            fcntl.flock(self._file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


class Node:
    """The seats of a node, from the point of view of one of its processes."""

    def __init__(self, folder: Path, counters: int) -> None:
        self._folder = folder
        self._counters = counters
        self._seats: dict[str, Seat] = {}
        self._own: Seat | None = None

    @property
    def own(self) -> Seat | None:
        """The seat that this process has taken."""
        return self._own

    def enter(self) -> Seat:
        """Take a seat."""
        number = 0
        while not (seat := self._seat(f"seat-{number}")).take():
            number += 1
        self._own = seat
        return seat

    def leave(self) -> None:
        """Give the seat up."""
        if self._own is not None:
            self._own.leave()
            self._own = None

    def seats(self) -> list[Seat]:
        """Every seat that was ever taken, free ones included.

        They are numbered without gaps, so nobody has to list the folder, which would take a descriptor.
        """
        return list(map(self._seat, takewhile(self._is_there, map("seat-{}".format, count()))))

    def living(self) -> Iterator[Seat]:
        """The seats of the processes that live, one's own included."""
        return (seat for seat in self.seats() if seat is self._own or seat.is_taken)

    def _is_there(self, name: str) -> bool:
        return name in self._seats or (self._folder / name).exists()

    def _seat(self, name: str) -> Seat:
        if name not in self._seats:
            self._seats[name] = Seat(self._folder / name, self._counters)
        return self._seats[name]
