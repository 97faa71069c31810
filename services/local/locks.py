"""A lock between processes."""

from __future__ import annotations

import fcntl
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path


class FileLock:
    """A lock between processes; it ends with the process that holds it, however that ends.

    Raises BlockingIOError when `wait` is false and somebody else holds it.
    """

    def __init__(self, path: Path, wait: bool = True) -> None:
        self._file = path.open("a")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise

    def release(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
