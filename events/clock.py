"""What time it is, for everything that must not go backwards: expiry, grace, windows.

The clock goes on with the time since boot, which counts suspension and knows no steps. It is put forward,
never back, by two witnesses: the host's wall clock, and what the broker says when it appended a record.
Each is believed only as far as one of them alone cannot end all keys at once; DECISIONS.md has the reasons.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from events.clock_offset import ClockOffset

logger = logging.getLogger(__name__)

MINUTE_SECONDS = 60.0
DAY_SECONDS = 86_400.0
#: No wall clock that says less is right, and whoever knows better is believed: 2026, when this was written.
EARLIEST_SECONDS = 1_767_225_600.0
#: Less is what reading two clocks one after the other may differ by.
SMALLEST_STEP_SECONDS = 0.05
#: So far ahead of the host the broker is believed on its own word.
BROKER_ALONE_SECONDS = 5 * MINUTE_SECONDS
#: So far ahead the host is believed on its own word, and the broker where a record's writer agrees with it.
MOST_SECONDS = DAY_SECONDS
#: The writer of a record agrees with the broker when the two dated it within this of each other.
AGREEMENT_SECONDS = 5 * MINUTE_SECONDS
#: A larger step of the host is believed once it has stood for so long: a typo is mended sooner.
STANDING_SECONDS = 10 * MINUTE_SECONDS
REMINDER_SECONDS = 60.0


def _boottime() -> Callable[[], float]:
    if hasattr(time, "CLOCK_BOOTTIME"):
        # A partial of two builtins: it takes half the time of a function.
        return partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    return time.monotonic


#: Seconds since the host was started, for durations that must count those in which it was suspended.
boottime = _boottime()


class Clock:
    """One a process; those that share an offset tell the same time.

    `follows_steps=False` is for who loses nothing by being late, and much by being early: a step of the host
    by more than a second is believed by the next process only.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        boottime: Callable[[], float] = boottime,
        offset: ClockOffset | None = None,
        *,
        follows_steps: bool = True,
    ) -> None:
        self._wall = wall
        self._boottime = boottime
        self._follows_steps = follows_steps
        self._offset = offset or ClockOffset()
        # In this order here and below: what comes between the two makes the clock late, never early.
        host = wall()
        self._offset.fix(host - boottime())
        self._numbers = self._offset.numbers
        #: A step of the host that is not believed yet: the offset it would make, and since when (boot time).
        self._step = (-math.inf, 0.0)
        self._doubted_at = -math.inf

    def seconds(self) -> float:
        """Seconds since 1970, UTC."""
        host = self._wall()
        now: float = self._boottime() + self._numbers[0]
        if host - now > SMALLEST_STEP_SECONDS:
            return self._follow_host(host, now)
        return now

    def now(self) -> datetime:
        """The same moment as an aware UTC datetime."""
        return datetime.fromtimestamp(self.seconds(), UTC)

    @property
    def raised_seconds(self) -> float:
        """By how much it was put forward since the first of those that share it began."""
        return self._offset.raised_seconds

    @property
    def ahead_seconds(self) -> float:
        """How far it is ahead of the host's wall clock; negative while a step of that is not believed yet."""
        return self.seconds() - self._wall()

    def follow_log(self, appended_seconds: float, written_seconds: float) -> bool:
        """It is at least as late as the broker says that it appended a record. False: it is not believed.

        `written_seconds` is what the record's writer says. Both are seconds since 1970. Never call it with
        a time that is not the broker's.
        """
        host, now = self._wall(), self.seconds()
        if appended_seconds <= now:
            return True
        if appended_seconds - host > _believed_ahead(host, abs(appended_seconds - written_seconds)):
            self._doubt(appended_seconds, written_seconds, host)
            return False
        self._raise(appended_seconds, now, host, "the log")
        return True

    def _follow_host(self, host: float, now: float) -> float:
        is_far = host - now > (MOST_SECONDS if self._follows_steps else 1) and now >= EARLIEST_SECONDS
        if is_far and not self._has_stood(host, now):
            return now
        self._raise(host, now, host, "the host")
        return self._boottime() + self._numbers[0]

    def _has_stood(self, host: float, now: float) -> bool:
        """Whether the host's clock has said so for long enough. Beginning to wait is logged."""
        at = self._boottime()
        offset, since = self._step
        if abs(host - at - offset) > 1:
            self._step = host - at, at
            logger.error(
                "the host's clock was set forward by %.0f s, from %s to %s: that is followed %s",
                host - now,
                _text(now),
                _text(host),
                "once it has stood for ten minutes, or the log says the same"
                if self._follows_steps
                else "by the next start only",
            )
            return False
        return self._follows_steps and at - since >= STANDING_SECONDS

    def _raise(self, to_seconds: float, now: float, host: float, whose: str) -> None:
        more = self._offset.raise_to(to_seconds - self._boottime())
        if more > 1:
            logger.warning(
                "the clock was put forward by %.1f s, from %s to %s, as %s says; the host's clock says %s",
                more,
                _text(now),
                _text(to_seconds),
                whose,
                _text(host),
            )

    def _doubt(self, appended_seconds: float, written_seconds: float, host: float) -> None:
        if (at := self._boottime()) - self._doubted_at < REMINDER_SECONDS:
            return
        self._doubted_at = at
        logger.error(
            "the broker says that it appended a record at %s, its writer says %s, and the host's clock says "
            "%s: the broker is not believed; one of these clocks is wrong",
            _text(appended_seconds),
            _text(written_seconds),
            _text(host),
        )


def _believed_ahead(host: float, disagreement_seconds: float) -> float:
    """How far ahead of the host's clock the broker is believed."""
    if disagreement_seconds > AGREEMENT_SECONDS:
        return BROKER_ALONE_SECONDS
    return MOST_SECONDS if host >= EARLIEST_SECONDS else math.inf


def _text(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.0f} s since 1970"
