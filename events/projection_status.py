"""How far a projection is, partition by partition: what is applied, what waits, and what it waits for."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence

from events.clock import boottime
from events.dead_letters import DeadLetter
from events.group_member import Batch
from events.held_up import HeldUp
from events.progress import Progress
from events.projection import ProjectionMetrics


class ProjectionStatus:
    """Hears what a runner does, and tells it to the metrics and to whoever asks whether all is well."""

    def __init__(self, metrics: ProjectionMetrics, held_up: HeldUp) -> None:
        self._metrics = metrics
        self._held_up = held_up
        self._progress = Progress()
        self._heard_at = -math.inf

    @property
    def silence_seconds(self) -> float:
        """Time since Kafka last said where the log ends; infinite before the first time."""
        return boottime() - self._heard_at

    @property
    def is_stuck(self) -> bool:
        """Whether a partition has something to apply and has not got on for half a minute."""
        return self._progress.is_stuck

    @property
    def is_held_up(self) -> bool:
        """Whether a foreign transaction is open for longer than it may."""
        return self._held_up.is_too_long

    def tries(self, batch: Batch) -> None:
        """The batch is what comes next of its partition."""
        if batch.records:
            self._progress.holds_up(batch.claim.partition, batch.records[0].timestamp)

    def applied(self, batch: Batch, letters: Sequence[DeadLetter], seconds: float) -> None:
        """The batch is committed, `seconds` after it was tried."""
        partition, records = batch.claim.partition, batch.records
        self._progress.advanced(partition)
        age_seconds = time.time() - records[0].timestamp / 1000 if records else 0.0
        self._metrics.batch_applied(partition, len(records), seconds, age_seconds)
        for letter in letters:
            self._metrics.dead_letter(letter.reason)

    def stale(self, partition: int) -> None:
        """Somebody else had claimed the partition."""
        self._metrics.stale_owner(partition)

    def lost(self, partition: int) -> None:
        """Kafka has given the partition to another process."""
        self._progress.lost(partition)
        self._held_up.forget(partition)
        self._metrics.partition_lost(partition)

    def heard(
        self, assigned: Iterable[int], lags: Mapping[int, int], ends: Mapping[int, tuple[int, int]]
    ) -> None:
        """What Kafka says: how far those of the assigned partitions are behind that are claimed.

        `ends` are the last stable offset and the high watermark of each partition that was read.
        """
        self._heard_at = boottime()
        for partition in assigned:
            self._progress.seen(partition, lags.get(partition))
            if partition in lags:
                self._metrics.lag(partition, lags[partition])
            oldest_seconds = self._progress.oldest_unapplied_seconds(partition)
            self._metrics.oldest_unapplied(partition, oldest_seconds)
        for partition, (last_stable_offset, high_watermark) in ends.items():
            seconds = self._held_up.see(partition, last_stable_offset, high_watermark)
            self._metrics.held_up(partition, max(0, high_watermark - last_stable_offset), seconds)
