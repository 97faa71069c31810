"""The clock goes on with the monotonic clock, and never backwards."""

from __future__ import annotations

from datetime import UTC, datetime

from events.clock import Clock


class Hands:
    """The two clocks of a system, moved by hand."""

    def __init__(self) -> None:
        self.wall_seconds = 1_700_000_000.0
        self.monotonic_seconds = 50.0

    def clock(self) -> Clock:
        return Clock(wall=lambda: self.wall_seconds, monotonic=lambda: self.monotonic_seconds)

    def pass_by(self, seconds: float) -> None:
        self.wall_seconds += seconds
        self.monotonic_seconds += seconds


def test_it_begins_at_wall_time() -> None:
    clock = Hands().clock()
    assert clock.seconds() == 1_700_000_000.0
    assert clock.now() == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert clock.now().tzinfo is UTC


def test_it_goes_on_as_time_passes() -> None:
    hands = Hands()
    clock = hands.clock()
    hands.pass_by(90.5)
    assert clock.seconds() == 1_700_000_090.5


def test_a_step_of_the_system_clock_moves_it_in_neither_direction() -> None:
    hands = Hands()
    clock = hands.clock()
    for step in (-3600.0, 7200.0):
        hands.wall_seconds += step
        hands.pass_by(1)
    assert clock.seconds() == 1_700_000_002.0


def test_the_log_lifts_it_out_of_the_past() -> None:
    hands = Hands()
    clock = hands.clock()
    clock.floor(1_700_009_000.0)
    assert clock.seconds() == 1_700_009_000.0
    hands.pass_by(1)
    assert clock.seconds() == 1_700_009_001.0


def test_an_earlier_floor_never_moves_it_backwards() -> None:
    clock = Hands().clock()
    clock.floor(1_600_000_000.0)
    assert clock.seconds() == 1_700_000_000.0


def test_without_arguments_it_tells_the_time_of_this_machine() -> None:
    before = datetime.now(UTC)
    now = Clock().now()
    assert abs((now - before).total_seconds()) < 5
