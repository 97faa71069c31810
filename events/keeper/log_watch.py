"""Is this still our log? Asked at start and every minute; where it is not, projecting stops until it is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

import psycopg

from events.errors import LogLost, LogUnavailable, WrongLog
from events.keeper.metrics import Metrics

logger = logging.getLogger(__name__)


class LogWatch:
    """Knows whether the log is ours, and lets others wait for either answer."""

    def __init__(
        self, confirm: Callable[[], Awaitable[None]], interval_seconds: float, metrics: Metrics
    ) -> None:
        """`confirm` raises `WrongLog`, or `LogUnavailable` or psycopg's errors when nobody can say."""
        self._hurry = asyncio.Event()
        self._confirm = confirm
        self._interval_seconds = interval_seconds
        self._metrics = metrics
        #: At most one of them is set; none before the first answer.
        self.ours = asyncio.Event()
        self.wrong = asyncio.Event()

    async def start(self) -> None:
        """The first answer. Raises what `confirm` raises.

        A log that has lost records is no error here: it is waited for, with `ours` unset, so that whoever
        watches this process sees what it waits for.
        """
        try:
            await self._confirm()
        except LogLost as error:
            self.refuse(error)
        else:
            self._answer(is_ours=True)

    def hurry(self) -> None:
        """Ask at once: something has happened to the log."""
        self._hurry.set()

    def refuse(self, error: WrongLog) -> None:
        """Somebody else has found that the log is not ours."""
        logger.critical("stopped projecting, this is not our log: %s", error)
        self._answer(is_ours=False)

    async def run(self) -> None:
        """Ask again and again. No answer leaves what was known before."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval_seconds):
                    await self._hurry.wait()
            self._hurry.clear()
            try:
                await self._confirm()
            except WrongLog as error:
                self.refuse(error)
            except (LogUnavailable, psycopg.OperationalError) as error:
                logger.warning("cannot check the log: %s", error)
            else:
                self._answer(is_ours=True)

    def _answer(self, *, is_ours: bool) -> None:
        self._metrics.log_is_ours.set(is_ours)
        for event, holds in ((self.ours, is_ours), (self.wrong, not is_ours)):
            if holds:
                event.set()
            else:
                event.clear()
