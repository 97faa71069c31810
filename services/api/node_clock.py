"""One clock for all workers of a node: its offset is a small file that every one of them maps into memory.

Without it a worker that starts after the system clock was stepped would expire keys, and turn the hours of
rate windows, at another moment than its older siblings.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from events.clock_offset import ClockOffset


def node_offset(folder: Path) -> ClockOffset:
    """The offset of the node whose workers, and they alone, share the folder; it lasts as long as that."""
    size = ClockOffset.NUMBERS * 8
    file = os.open(folder / "clock", os.O_RDWR | os.O_CREAT, 0o600)

    @contextmanager
    def lock() -> Iterator[None]:
        """Held for less than a microsecond; a worker that dies releases it."""
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)

    with lock():
        if os.fstat(file).st_size < size:
            # Written, not truncated to its length: touching mapped memory that a full disk has no room for
            # would end the worker.
            os.pwrite(file, bytes(size), 0)
    return ClockOffset(memoryview(mmap.mmap(file, size)).cast("d"), lock)
