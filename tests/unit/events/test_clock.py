"""The clock goes on with the time since boot, is put forward by witnesses, and never goes backwards."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import pytest

from events.clock import (
    BROKER_ALONE_SECONDS,
    DAY_SECONDS,
    MINUTE_SECONDS,
    STANDING_SECONDS,
    Clock,
)
from events.clock_offset import ClockOffset

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC).timestamp()
HOUR_SECONDS = 3600.0
YEAR_SECONDS = 365 * DAY_SECONDS


class Host:
    """Its two clocks, moved by hand."""

    def __init__(self, wall_seconds: float = NOW) -> None:
        self.wall_seconds = wall_seconds
        self.boottime_seconds = 50.0

    def clock(self, offset: ClockOffset | None = None, *, follows_steps: bool = True) -> Clock:
        """That of a process which starts now."""
        return Clock(
            lambda: self.wall_seconds, lambda: self.boottime_seconds, offset, follows_steps=follows_steps
        )

    def pass_by(self, seconds: float) -> None:
        """So much time passes, whether or not the host is suspended meanwhile."""
        self.wall_seconds += seconds
        self.boottime_seconds += seconds


@pytest.fixture
def host() -> Host:
    return Host()


def test_it_begins_at_wall_time(host: Host) -> None:
    clock = host.clock()
    assert clock.seconds() == NOW
    assert clock.now() == datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
    assert clock.now().tzinfo is UTC


def test_it_goes_on_as_time_passes(host: Host) -> None:
    clock = host.clock()
    host.pass_by(90.5)
    assert clock.seconds() == NOW + 90.5


def test_without_arguments_it_tells_the_time_of_this_machine() -> None:
    before = datetime.now(UTC)
    assert abs((Clock().now() - before).total_seconds()) < 5


def test_it_counts_the_time_in_which_the_host_was_suspended() -> None:
    """A namespace adds to the time since boot and not to the monotonic clock, as a suspension does."""
    program = "import time; from events.clock import boottime; print(boottime() - time.monotonic())"
    suspended = ["unshare", "--user", "--map-root-user", "--time", "--boottime", "7200", "--fork"]
    try:
        subprocess.run([*suspended, "true"], check=True, capture_output=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("this machine gives no time namespace")
    here, there = (
        float(subprocess.run([*where, sys.executable, "-c", program], check=True, capture_output=True).stdout)
        for where in ((), suspended)
    )
    assert there - here == pytest.approx(7200, abs=1)


# Steps of the host's clock


@pytest.mark.parametrize("seconds", [1.0, HOUR_SECONDS, YEAR_SECONDS])
def test_a_step_back_moves_nothing(host: Host, seconds: float) -> None:
    clock = host.clock()
    host.wall_seconds -= seconds
    host.pass_by(1)
    assert clock.seconds() == NOW + 1


@pytest.mark.parametrize("seconds", [1.0, HOUR_SECONDS, DAY_SECONDS])
def test_a_step_forward_is_followed_and_kept(
    host: Host, seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    clock = host.clock()
    host.wall_seconds += seconds
    assert clock.seconds() == NOW + seconds
    host.wall_seconds -= 2 * seconds
    assert clock.seconds() == NOW + seconds
    assert clock.raised_seconds == seconds
    assert ("the clock was put forward" in caplog.text) is (seconds > 1)


def test_what_two_readings_differ_by_moves_nothing(host: Host) -> None:
    clock = host.clock()
    host.wall_seconds += 0.01
    assert (clock.seconds(), clock.raised_seconds) == (NOW, 0)


def test_a_host_that_began_in_1970_is_followed_as_soon_as_it_knows_better(
    caplog: pytest.LogCaptureFixture,
) -> None:
    host = Host(60.0)
    clock = host.clock()
    host.pass_by(5)
    assert clock.seconds() == 65
    host.wall_seconds = NOW
    assert clock.seconds() == pytest.approx(NOW)
    assert "from 1970-01-01T00:01:05Z to 2026-11-27T12:00:00Z" in caplog.text


def test_a_wrong_year_is_not_followed_while_it_can_be_mended(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    clock = host.clock()
    host.wall_seconds += YEAR_SECONDS
    for _ in range(3):
        assert clock.seconds() == NOW + host.boottime_seconds - 50
        host.pass_by(STANDING_SECONDS / 3 - 1)
    assert clock.ahead_seconds == pytest.approx(-YEAR_SECONDS)
    host.wall_seconds -= YEAR_SECONDS
    host.pass_by(DAY_SECONDS)
    assert clock.raised_seconds == 0
    assert caplog.text.count("2027-11-27") == 1
    # The next one has its own ten minutes.
    host.wall_seconds += YEAR_SECONDS + 2
    assert clock.seconds() < NOW + 2 * DAY_SECONDS


def test_a_step_of_days_is_followed_once_it_has_stood(host: Host) -> None:
    clock = host.clock()
    host.wall_seconds += 3 * DAY_SECONDS
    assert clock.seconds() == NOW
    host.pass_by(STANDING_SECONDS)
    assert clock.seconds() == NOW + 3 * DAY_SECONDS + STANDING_SECONDS


def test_a_step_of_days_is_followed_at_once_where_the_log_says_the_same(host: Host) -> None:
    clock = host.clock()
    host.wall_seconds += 3 * DAY_SECONDS
    assert clock.seconds() == NOW
    assert clock.follow_log(NOW + 3 * DAY_SECONDS - 7, NOW)
    assert clock.seconds() == NOW + 3 * DAY_SECONDS


def test_who_loses_nothing_by_being_late_follows_no_step(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    clock = host.clock(follows_steps=False)
    host.wall_seconds += HOUR_SECONDS
    for _ in range(2):
        assert clock.seconds() < NOW + DAY_SECONDS
        host.pass_by(STANDING_SECONDS)
    assert clock.seconds() == NOW + 2 * STANDING_SECONDS
    assert caplog.text.count("by the next start only") == 1


# What the broker says


def test_the_log_puts_it_forward_as_two_clocks_against_one(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    """A host that lags by hours; the writer of the record and the broker agree about the time."""
    clock = host.clock()
    assert clock.follow_log(NOW + 9 * HOUR_SECONDS, NOW + 9 * HOUR_SECONDS - 2)
    host.pass_by(1)
    assert clock.seconds() == NOW + 9 * HOUR_SECONDS + 1
    assert clock.ahead_seconds == 9 * HOUR_SECONDS
    assert "from 2026-11-27T12:00:00Z to 2026-11-27T21:00:00Z, as the log says" in caplog.text
    assert "the host's clock says 2026-11-27T12:00:00Z" in caplog.text


def test_an_earlier_record_never_moves_it_backwards(host: Host) -> None:
    clock = host.clock()
    assert clock.follow_log(NOW - DAY_SECONDS, NOW - DAY_SECONDS)
    assert clock.seconds() == NOW


def test_the_broker_alone_is_believed_for_minutes(host: Host) -> None:
    clock = host.clock()
    assert clock.follow_log(NOW + BROKER_ALONE_SECONDS, NOW - HOUR_SECONDS)
    assert clock.seconds() == NOW + BROKER_ALONE_SECONDS


def test_minutes_do_not_add_up(host: Host) -> None:
    clock = host.clock()
    for minutes in range(1, 60):
        clock.follow_log(NOW + minutes * MINUTE_SECONDS, NOW - HOUR_SECONDS)
    assert clock.seconds() == NOW + BROKER_ALONE_SECONDS


@pytest.mark.parametrize("ahead_seconds", [BROKER_ALONE_SECONDS + 1, HOUR_SECONDS, YEAR_SECONDS, 2.0**53])
def test_a_broker_that_is_ahead_of_everybody_is_not_believed(
    host: Host, ahead_seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    clock = host.clock()
    for _ in range(5):
        assert not clock.follow_log(NOW + ahead_seconds, NOW)
    assert clock.seconds() == NOW
    assert caplog.text.count("the broker is not believed") == 1


@pytest.mark.parametrize("ahead_seconds", [DAY_SECONDS + 1, YEAR_SECONDS])
def test_nothing_in_the_log_ends_all_keys(host: Host, ahead_seconds: float) -> None:
    """The wrong year of a host with a broker and a writer on it stays in the log for ever."""
    clock = host.clock()
    assert not clock.follow_log(NOW + ahead_seconds, NOW + ahead_seconds)
    assert clock.seconds() == NOW


def test_a_host_in_1970_is_put_forward_by_the_log() -> None:
    clock = Host(60.0).clock()
    assert not clock.follow_log(NOW + YEAR_SECONDS, NOW)
    assert clock.follow_log(NOW, NOW)
    assert clock.seconds() == NOW


# Workers of one node


@pytest.mark.parametrize("step_seconds", [-YEAR_SECONDS, -HOUR_SECONDS, HOUR_SECONDS, 3 * DAY_SECONDS])
def test_who_starts_after_a_step_tells_the_same_time_as_its_siblings(host: Host, step_seconds: float) -> None:
    offset = ClockOffset()
    older = host.clock(offset)
    host.pass_by(100)
    host.wall_seconds += step_seconds
    younger = host.clock(offset)
    assert younger.seconds() == older.seconds() >= NOW + 100


def test_what_one_worker_follows_all_follow(host: Host) -> None:
    offset = ClockOffset()
    one, other = host.clock(offset), host.clock(offset)
    one.follow_log(NOW + HOUR_SECONDS, NOW + HOUR_SECONDS)
    other.follow_log(NOW + MINUTE_SECONDS, NOW + MINUTE_SECONDS)
    assert one.seconds() == other.seconds() == NOW + HOUR_SECONDS
    assert one.raised_seconds == other.raised_seconds == HOUR_SECONDS
