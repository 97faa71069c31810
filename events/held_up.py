"""How long transactions of foreign producers hold a partition up, for readers of what is committed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from events.clock import boottime

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Standstill:
    last_stable_offset: int
    began_at: float
    is_told: bool = False


class HeldUp:
    """Since when each partition's last stable offset stands still although more was appended behind it.

    A transaction that is open longer than `limit_seconds` is logged once, and once more when it is over.
    """

    def __init__(
        self,
        topic: str,
        limit_seconds: float,
        seconds: Callable[[], float] = boottime,
    ) -> None:
        self._topic = topic
        self._limit_seconds = limit_seconds
        self._seconds = seconds
        self._standstills: dict[int, _Standstill] = {}

    def see(self, partition: int, last_stable_offset: int, high_watermark: int) -> float:
        """Take note of where the partition ends for whom; returns for how long it has been held up."""
        standstill = self._standstills.get(partition)
        if high_watermark <= last_stable_offset:
            self.forget(partition)
            return 0.0
        if standstill is None or standstill.last_stable_offset != last_stable_offset:
            self.forget(partition)
            self._standstills[partition] = _Standstill(last_stable_offset, self._seconds())
            return 0.0
        seconds = self._seconds() - standstill.began_at
        if seconds >= self._limit_seconds and not standstill.is_told:
            standstill.is_told = True
            logger.error(
                "%s/%s is held up by a transaction that is open for %.0f s: "
                "%d records from offset %d on wait for its end",
                self._topic,
                partition,
                seconds,
                high_watermark - last_stable_offset,
                last_stable_offset,
            )
        return seconds

    def forget(self, partition: int) -> None:
        """The partition is not held up any more, or not ours to read."""
        standstill = self._standstills.pop(partition, None)
        if standstill is not None and standstill.is_told:
            logger.warning("%s/%s is not held up any more", self._topic, partition)

    @property
    def is_too_long(self) -> bool:
        """Whether a transaction is open that nobody should wait for."""
        now = self._seconds()
        return any(now - found.began_at >= self._limit_seconds for found in self._standstills.values())
