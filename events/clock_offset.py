"""How far wall time is ahead of the time since boot: the one number that a clock is made of."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext


class ClockOffset:
    """Wall time minus time since boot, in seconds. Whoever comes first fixes it; after that it only rises.

    `numbers` are `NUMBERS` doubles, all zero at first. Processes of one host may share them; `lock` then
    keeps two that raise the offset at the same moment from undoing each other.
    """

    NUMBERS = 3

    def __init__(
        self,
        numbers: memoryview[float] | None = None,
        lock: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.numbers = numbers or memoryview(bytearray(self.NUMBERS * 8)).cast("d")
        self._lock = lock

    @property
    def raised_seconds(self) -> float:
        """By how much it was raised since it was fixed."""
        return self.numbers[0] - self.numbers[1]

    def fix(self, seconds: float) -> None:
        """Begin with this offset, unless another process has begun already."""
        with self._lock():
            if not self.numbers[2]:
                self.numbers[0] = self.numbers[1] = seconds
                self.numbers[2] = 1.0

    def raise_to(self, seconds: float) -> float:
        """Raise it, unless it is as high. Returns by how much."""
        with self._lock():
            more = max(0.0, seconds - self.numbers[0])
            if more:
                self.numbers[0] = seconds
        return more
