"""Wait for a condition, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import httpx

from events.errors import LogUnavailable

T = TypeVar("T")

POLL_SECONDS = 0.02


def eventually(condition: Callable[[], T | None], timeout_seconds: float, what: str) -> T:
    """The first true value of the condition. A server that hangs up, or is away, has not answered yet.

    Raises `AssertionError`, which says what was waited for and how it stood last.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            last: object = condition()
        except (httpx.TransportError, LogUnavailable) as error:
            last = error
        else:
            if last:
                return last  # type: ignore[return-value]
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_seconds:.0f} s in vain for {what}; at last: {last!r}")
        time.sleep(POLL_SECONDS)
