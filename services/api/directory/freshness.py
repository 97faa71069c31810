"""How fresh a node's store is: a few numbers that its follower writes and every worker maps into memory."""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Callable
from enum import IntEnum, auto
from pathlib import Path

from events.clock import boottime

FILE = "freshness"


class _Number(IntEnum):
    IS_READY = 0
    #: Times since the machine was started, in microseconds.
    FRESH_AT = auto()
    ANSWERED_AT = auto()
    IS_OUR_LOG = auto()


class Freshness:
    """Lasts as long as the folder: a restarted node knows how old its store is.

    Each number is written at once, so whoever reads sees it as it was or as it is.
    """

    def __init__(self, folder: Path, boottime: Callable[[], float] = boottime) -> None:
        size = len(_Number) * 8
        file = os.open(folder / FILE, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.fstat(file).st_size < size:
                # Written, not truncated to its length: touching mapped memory that a full disk has no room
                # for would end the process.
                os.pwrite(file, bytes(size), 0)
            self._numbers = memoryview(mmap.mmap(file, size)).cast("q")
        finally:
            os.close(file)
        self._boottime = boottime

    @property
    def staleness_seconds(self) -> float:
        """Age of the newest answer about the log's end that every partition has reached since."""
        fresh_at = self._numbers[_Number.FRESH_AT] / 1e6
        # Never yet, or before the machine was started anew.
        return self._boottime() - fresh_at if 0 < fresh_at <= self._boottime() else math.inf

    @property
    def silence_seconds(self) -> float:
        """Time since the log last answered where it ends."""
        return self._boottime() - self._numbers[_Number.ANSWERED_AT] / 1e6

    @property
    def is_ready(self) -> bool:
        """Whether there is a store that workers may answer from."""
        return self._numbers[_Number.IS_READY] == 1

    @property
    def is_our_log(self) -> bool:
        """Whether the log was ours when it was looked at last."""
        return self._numbers[_Number.IS_OUR_LOG] == 1

    def begin(self) -> None:
        """The node starts: nobody may answer yet."""
        self._numbers[_Number.IS_READY] = 0
        self._numbers[_Number.IS_OUR_LOG] = 1

    def forget(self) -> None:
        """The store is filled anew: how fresh the old one was says nothing."""
        self._numbers[_Number.FRESH_AT] = 0
        self._numbers[_Number.ANSWERED_AT] = 0

    def ready(self) -> None:
        self._numbers[_Number.IS_READY] = 1

    def fresh_at(self, boottime_seconds: float) -> None:
        self._numbers[_Number.FRESH_AT] = int(boottime_seconds * 1e6)

    def answered_at(self, boottime_seconds: float) -> None:
        self._numbers[_Number.ANSWERED_AT] = int(boottime_seconds * 1e6)

    def our_log(self, *, is_ours: bool) -> None:
        self._numbers[_Number.IS_OUR_LOG] = int(is_ours)
