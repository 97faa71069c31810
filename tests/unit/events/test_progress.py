"""A process that does not get on says so."""

from __future__ import annotations

from events.progress import STUCK_SECONDS, Progress


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_nothing_is_known_to_move_before_it_has_moved_once() -> None:
    progress = Progress(Clock())
    progress.seen(0, 7)
    assert progress.is_stuck
    progress.advanced(0)
    assert not progress.is_stuck


def test_a_partition_that_is_level_is_not_stuck_however_long_nothing_comes() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.seen(0, 0)
    clock.now += 10 * STUCK_SECONDS
    assert not progress.is_stuck
    progress.seen(0, 0)
    progress.seen(0, 1)
    assert not progress.is_stuck
    clock.now += STUCK_SECONDS + 1
    assert progress.is_stuck


def test_one_partition_that_stands_still_is_enough() -> None:
    clock = Clock()
    progress = Progress(clock)
    for partition in (0, 1):
        progress.seen(partition, 0)
        progress.seen(partition, 9)
    clock.now += STUCK_SECONDS + 1
    progress.advanced(0)
    assert progress.is_stuck
    assert progress.oldest_unapplied_seconds(1) == STUCK_SECONDS + 1
    progress.lost(1)
    assert not progress.is_stuck


def test_one_that_nobody_can_claim_is_stuck_too() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.seen(0, 0)
    progress.lost(0)
    progress.seen(0, None)
    assert progress.is_stuck
    clock.now += 5
    assert progress.oldest_unapplied_seconds(0) == 5


def test_a_record_in_hand_is_as_old_as_its_append() -> None:
    clock = Clock()
    progress = Progress(clock, wall=lambda: 2_000_000.0)
    progress.seen(0, 3)
    progress.holds_up(0, 1_999_000_000)
    assert progress.oldest_unapplied_seconds(0) == 1000
    progress.advanced(0)
    assert progress.oldest_unapplied_seconds(0) == 0
