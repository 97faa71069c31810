"""Wait for something that is away, and say so."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

T = TypeVar("T")
logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0
REMINDER_SECONDS = 30.0


async def wait_for(what: str, attempt: Callable[[], Awaitable[T]], errors: tuple[type[Exception], ...]) -> T:
    """Try until it works, pausing longer and longer up to 5 s; `what` is e.g. "Kafka at broker:9092".

    Only these errors are waited out. The first failure is logged with its reason, then one every 30 s,
    and the end of the wait.
    """
    announcement = _Announcement(what)
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(errors),
        wait=wait_random_exponential(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS),
        before_sleep=announcement.after_failure,
    )

    async def once() -> T:  # tenacity awaits what is declared `async`, not what a lambda returns
        return await attempt()

    result: T = await retrying(once)
    announcement.after_success()
    return result


class _Announcement:
    """What was said about one wait, so that it is not said again too soon."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._last_seconds: float | None = None

    async def after_failure(self, failure: RetryCallState) -> None:
        waited_seconds = failure.seconds_since_start or 0.0
        if self._last_seconds is None or waited_seconds - self._last_seconds >= REMINDER_SECONDS:
            reason = failure.outcome.exception() if failure.outcome else None
            logger.warning("waiting for %s: %s", self._what, reason)
            self._last_seconds = waited_seconds

    def after_success(self) -> None:
        if self._last_seconds is not None:
            logger.info("%s is there", self._what)
