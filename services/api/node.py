"""The workers of one node: how far each has applied the log, and what each has counted.

Workers are processes that share a listening socket and a folder. Each sits on a seat, a file of 64-bit
numbers that all of them map into memory. A worker holds a lock on its seat while it lives, so a seat is
free the moment its process is gone; the next worker takes it over and counts on from where it stands.
"""

from __future__ import annotations

import asyncio
import fcntl
import mmap
import os
from collections.abc import Iterator
from itertools import count, takewhile
from pathlib import Path

POLL_SECONDS = 0.001
NUMBER_BYTES = 8


class Seat:
    """One worker's numbers. `positions[p]` is the offset after the last record applied of partition p."""

    def __init__(self, path: Path, partitions: int, counters: int, tallies: int) -> None:
        size = (partitions + counters + tallies) * NUMBER_BYTES
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if os.fstat(self._file).st_size < size:
            # Not a hole in a file: writing to one on a full disk would kill the process.
            os.posix_fallocate(self._file, 0, size)
        self._memory = memoryview(mmap.mmap(self._file, size)).cast("q")
        self.positions = self._memory[:partitions]
        self.counters = self._memory[partitions : partitions + counters]
        #: See `node_windows`.
        self.tallies = self._memory[partitions + counters :]

    def take(self) -> bool:
        """Sit down, unless somebody else sits here."""
        return self._lock(fcntl.LOCK_EX)

    @property
    def is_taken(self) -> bool:
        """Whether a living worker sits here. Ask about other workers' seats only, never one's own."""
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
    """The seats of a node, from the point of view of one of its workers."""

    def __init__(self, folder: Path, partitions: int, counters: int, tallies: int = 0) -> None:
        self._folder = folder
        self._shape = (partitions, counters, tallies)
        self._seats: dict[str, Seat] = {}
        self._own: Seat | None = None

    @property
    def own(self) -> Seat | None:
        """The seat that this worker has taken."""
        return self._own

    def enter(self) -> Seat:
        """Take a seat. From here on, writers of this node wait for this worker too."""
        number = 0
        while not (seat := self._seat(f"seat-{number}")).take():
            number += 1
        self._own = seat
        return seat

    def leave(self) -> None:
        """Stop being waited for."""
        if self._own is not None:
            self._own.leave()
            self._own = None

    def seats(self) -> list[Seat]:
        """Every seat that was ever taken, free ones included.

        They are numbered without gaps, so nobody has to list the folder, which would take a descriptor.
        """
        return list(map(self._seat, takewhile(self._is_there, map("seat-{}".format, count()))))

    def living(self) -> Iterator[Seat]:
        """The seats of the workers that live, one's own included."""
        return (seat for seat in self.seats() if seat is self._own or seat.is_taken)

    async def applied(self, partition: int, offset: int) -> None:
        """Wait until every worker of this node has applied that record. The caller sets the deadline.

        Who enters later reads the record before it listens: it takes its seat before it asks for the end.
        """
        behind = [seat for seat in self.seats() if seat.positions[partition] <= offset]
        while behind := [
            seat
            for seat in behind
            if seat.positions[partition] <= offset and (seat is self._own or seat.is_taken)
        ]:
            await asyncio.sleep(POLL_SECONDS)

    def _is_there(self, name: str) -> bool:
        return name in self._seats or (self._folder / name).exists()

    def _seat(self, name: str) -> Seat:
        if name not in self._seats:
            self._seats[name] = Seat(self._folder / name, *self._shape)
        return self._seats[name]
