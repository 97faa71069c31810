"""The tables of a node, one a window, in a folder that all its processes share and that survives them."""

from __future__ import annotations

import re
from pathlib import Path

from services.api.limits.locks import Locks
from services.api.limits.window_table import WindowTable

#: Of a window's first file: 1.6 MB, enough for 8,192 lineages before it grows.
FIRST_SLOTS = 1 << 14


class WindowTables:
    """The windows of one length: window n begins n lengths after 1970, UTC.

    Use it in one thread, and only one for each folder in a process: see `Locks`.
    """

    def __init__(self, folder: Path, length_seconds: int = 3600, first_slots: int = FIRST_SLOTS) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._length_seconds = length_seconds
        self._first_slots = first_slots
        self._tables: dict[int, WindowTable] = {}
        self.locks = Locks(folder / "locks")

    def number(self, now_seconds: float) -> int:
        """The window of that moment."""
        return int(now_seconds // self._length_seconds)

    def begins_at_seconds(self, number: int) -> float:
        """When a window begins."""
        return float(number * self._length_seconds)

    def ends_at_seconds(self, number: int) -> float:
        """When a window is over."""
        return self.begins_at_seconds(number + 1)

    def table(self, number: int) -> WindowTable:
        """The table of that window, new where there is none. Raises `NoRoomForCounts`."""
        table = self._tables.get(number)
        if table is None:
            name = f"{self._length_seconds}-{number}"
            table = WindowTable(self._folder, name, number, self.locks, self._first_slots)
            self._tables[number] = table
        return table

    def existing(self, number: int) -> WindowTable | None:
        """The table of that window, if there is one."""
        if number in self._tables or (self._folder / f"{self._length_seconds}-{number}.0").exists():
            return self.table(number)
        return None

    def numbers(self) -> list[int]:
        """The windows that have a table, oldest first."""
        names = re.compile(rf"{self._length_seconds}-(\d+)\.0")
        found = (names.fullmatch(path.name) for path in self._folder.iterdir())
        return sorted(int(name[1]) for name in found if name)

    def forget(self, before_number: int) -> None:
        """Let go of tables of windows before that one; their files stay."""
        self._tables = {number: table for number, table in self._tables.items() if number >= before_number}

    def delete(self, number: int) -> None:
        """Delete a table that no process uses any more."""
        self._tables.pop(number, None)
        # The first file last: without it nobody would find the others.
        for path in sorted(self._folder.glob(f"{self._length_seconds}-{number}.*"), reverse=True):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        self._tables.clear()
        self.locks.close()
