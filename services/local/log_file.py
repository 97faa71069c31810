"""What a process writes, kept in files of bounded size."""

from __future__ import annotations

import logging
import os
import threading
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MOST_BYTES = 10 * 1024 * 1024
BACKUPS = 4
#: A line without an end is cut here, so that a process that writes none fills no memory.
LONGEST_LINE_BYTES = 64 * 1024
#: What a process has written may still be on its way when it has ended.
_PATIENCE_SECONDS = 2.0


class LogFile:
    """`<path>`, and up to four older ones: `<path>.1` is the newest of these.

    A process writes into a pipe, and a thread of ours from there into the file, line by line: so no line is
    lost or torn when a file is full. A disk that is full loses lines, but never makes the process wait.
    """

    def __init__(self, path: Path, most_bytes: int = MOST_BYTES, backups: int = BACKUPS) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._backups = backups
        self._reader: threading.Thread | None = None
        self._offset = 0
        self._rotations = 0

    def begin(self) -> int:
        """A new run; the descriptor that its process writes to. Whoever starts the process closes it here."""
        self.finish()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handler = _Handler(self._path, self._most_bytes, self._backups, self._note_rotation)
        self._offset, self._rotations = self._path.stat().st_size, 0
        source, sink = os.pipe()
        os.set_inheritable(sink, True)
        self._reader = threading.Thread(target=_copy, args=(source, handler), name="log", daemon=True)
        self._reader.start()
        return sink

    def finish(self) -> None:
        """Return when all that an ended process has written is in the file."""
        if self._reader is not None:
            self._reader.join(_PATIENCE_SECONDS)  # its children may hold the pipe, and live on

    def of_this_run(self, last_bytes: int | None = None) -> str:
        """What this run has written so far, as far as it is kept, or only the end of it."""
        oldest = min(self._rotations, self._backups)
        files = [self._path.with_name(f"{self._path.name}.{number}") for number in range(oldest, 0, -1)]
        found = [file.read_bytes() for file in (*files, self._path) if file.exists()]
        if found and self._rotations <= self._backups:
            found[0] = found[0][self._offset :]
        written = b"".join(found)
        return (written[-last_bytes:] if last_bytes else written).decode(errors="replace")

    def _note_rotation(self) -> None:
        self._rotations += 1


class _Handler(RotatingFileHandler):
    def __init__(self, path: Path, most_bytes: int, backups: int, rotated: Callable[[], None]) -> None:
        super().__init__(path, maxBytes=most_bytes, backupCount=backups, encoding="utf-8", errors="replace")
        self._rotated = rotated

    def doRollover(self) -> None:  # noqa: N802
        super().doRollover()
        self._rotated()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """A line that can't be written is lost: waiting would stop the process that it comes from."""


def _copy(source: int, handler: logging.Handler) -> None:
    with os.fdopen(source, "rb") as pipe:
        while line := pipe.readline(LONGEST_LINE_BYTES):
            text = line.decode(errors="replace").removesuffix("\n")
            handler.handle(logging.makeLogRecord({"msg": text, "args": None}))
    with suppress(OSError):  # a full disk
        handler.close()
