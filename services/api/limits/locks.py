"""Locks that the processes of a node share. The kernel frees those of a process that dies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_UN, lockf
from pathlib import Path

STRIPES = 256
#: Whoever adds a slot or a file holds this one; it may be taken by whoever holds one of a stripe.
_CHANGES = STRIPES


class Locks:
    """Byte-range locks of one file: one byte for each stripe of slots, and one for changes of the tables.

    A process loses all its locks of a file as soon as it closes any descriptor of it. So the file has no
    other use, and is opened once. Locks exclude processes, not threads: one thread uses the tables.
    """

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @contextmanager
    def stripe(self, stripe: int) -> Iterator[None]:
        """Counts in slots of the stripe change under this lock only."""
        lockf(self.descriptor, LOCK_EX, 1, stripe)
        try:
            yield
        finally:
            lockf(self.descriptor, LOCK_UN, 1, stripe)

    @contextmanager
    def changes(self) -> Iterator[None]:
        """Slots and files are added under this lock only."""
        lockf(self.descriptor, LOCK_EX, 1, _CHANGES)
        try:
            yield
        finally:
            lockf(self.descriptor, LOCK_UN, 1, _CHANGES)

    def close(self) -> None:
        os.close(self.descriptor)
