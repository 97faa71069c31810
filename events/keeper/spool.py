"""Rows on disk instead of in memory: dealt out by their place, so that one share at a time fits."""

from __future__ import annotations

import pickle
import tempfile
import zlib
from array import array
from collections.abc import Hashable, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

#: A share of a hundred million rows has 200,000, which take about 150 MB while they are compared.
SHARES = 512
#: So many rows wait in memory before they go to the file.
ROWS_IN_MEMORY = 20_000

T = TypeVar("T")
PlaceT = TypeVar("PlaceT", bound=Hashable)


class Spool(Generic[PlaceT, T]):
    """Items by place. Those of one place are in one share, in the order in which they were added.

    Every spool deals out alike, so the same share of two of them has the same places: they are joined share
    by share. The file stands in the folder for temporary files (`TMPDIR`), has no name and is readable by
    nobody else; it is gone when the spool is closed or the process ends. Raises `OSError` when the disk is
    full.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._waiting: list[list[tuple[PlaceT, T]]] = [[] for _ in range(SHARES)]
        self._waiting_rows = 0
        #: Where each share's chunks begin in the file, and how long each is.
        self._chunks = [array("Q") for _ in range(SHARES)]

    def add(self, place: PlaceT, item: T) -> None:
        self._waiting[hash(place) % SHARES].append((place, item))
        self._waiting_rows += 1
        if self._waiting_rows >= ROWS_IN_MEMORY:
            self._write()

    def share(self, number: int) -> Iterator[tuple[PlaceT, T]]:
        """The items of a share, with their places; read from disk as they are taken."""
        chunks = self._chunks[number]
        for begin, length in zip(chunks[::2], chunks[1::2], strict=True):
            self._file.seek(begin)
            packed = zlib.decompress(self._file.read(length))
            yield from pickle.loads(packed)  # noqa: S301 - this process has written it, nobody else can
        yield from self._waiting[number]

    def __iter__(self) -> Iterator[tuple[PlaceT, T]]:
        for number in range(SHARES):
            yield from self.share(number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _write(self) -> None:
        begin = self._file.seek(0, 2)
        for chunks, rows in zip(self._chunks, self._waiting, strict=True):
            if rows:
                length = self._file.write(zlib.compress(pickle.dumps(rows, pickle.HIGHEST_PROTOCOL), level=1))
                chunks.extend((begin, length))
                begin += length
                rows.clear()
        self._waiting_rows = 0
