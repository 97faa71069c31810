"""A costly answer that many ask for: one asks, the others share what it hears (single-flight)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")

REMEMBER_SECONDS = 1.0


class Remembered(Generic[T]):
    """Asks at most once at a time, and at most once a second however many want to know."""

    def __init__(
        self,
        ask: Callable[[], Awaitable[T]],
        seconds: float = REMEMBER_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ask` has a deadline of its own: whoever comes meanwhile waits for it."""
        self._ask = ask
        self._seconds = seconds
        self._monotonic = monotonic
        self._asking: asyncio.Task[T] | None = None
        self._answer: tuple[float, T] | None = None

    async def get(self) -> T:
        """The answer, a second old at most. Raises what `ask` raises; that is not remembered."""
        if self._answer is not None and self._monotonic() - self._answer[0] < self._seconds:
            return self._answer[1]
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_once())
            self._asking.add_done_callback(self._has_asked)
        # Whoever asked first may hang up; the others still wait.
        return await asyncio.shield(self._asking)

    async def _ask_once(self) -> T:
        answer = await self._ask()
        self._answer = (self._monotonic(), answer)
        return answer

    def _has_asked(self, task: asyncio.Task[T]) -> None:
        self._asking = None
        if not task.cancelled():
            task.exception()  # nobody may be left to hear of it
