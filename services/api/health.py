"""Whether this worker can answer, and whether what it depends on is there."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from events.errors import LogLost, LogUnavailable, WrongLog
from events.log import LogReader
from events.read_trail import lost_error
from services.api.errors import ReadModelUnavailable
from services.api.follower import Follower
from services.api.ports import CheckLog, ReadModels
from services.api.read_models import KnownMarks

logger = logging.getLogger(__name__)

CHECK_SECONDS = 60.0
#: The log is asked every second where it ends; after this long without an answer it counts as away.
SILENCE_SECONDS = 3.0


class Health:
    """Two questions: may validation answer, and is every dependency there."""

    def __init__(
        self,
        follower: Follower,
        read_models: ReadModels,
        check_log: CheckLog,
        reader: LogReader,
        max_staleness_seconds: float,
    ) -> None:
        self._follower = follower
        self._read_models = read_models
        self._check_log = check_log
        self._reader = reader
        self._max_staleness_seconds = max_staleness_seconds
        self._is_our_log = True

    @property
    def is_stale(self) -> bool:
        """Out of touch with the log for so long that a revocation might have been missed."""
        return self._follower.staleness_seconds > self._max_staleness_seconds

    async def checks(self) -> dict[str, bool]:
        """Each dependency, and whether it is there."""
        return {
            "database": await self._read_models.is_reachable(),
            "kafka": self._follower.silence_seconds < SILENCE_SECONDS,
            "log": self._is_our_log,
            "directory": not self.is_stale,
        }

    async def watch(self) -> None:
        """Ask every minute whether this is still our log. For ever."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await self.check()

    async def check(self) -> None:
        """Ask whether this is our log; no answer leaves what was known before.

        Raises `LogLost`: whoever follows such a log may miss a revocation.
        """
        try:
            await self.confirm()
        except LogLost:
            raise
        except WrongLog as error:
            if self._is_our_log:
                logger.critical("not our log any more: %s", error)
            self._is_our_log = False
        except LogUnavailable as error:
            logger.warning("can't check the log: %s", error)
        else:
            self._is_our_log = True

    async def confirm(self) -> None:
        """Raise `WrongLog` unless this is our log, `LogUnavailable` where it does not answer."""
        await confirm_log(self._read_models, self._check_log, self._reader)


async def confirm_log(read_models: ReadModels, check_log: CheckLog, reader: LogReader) -> None:
    """The same before there is a worker. Where Postgres is away any log is ours: the log has it all."""
    known, marks = None, KnownMarks()
    with contextlib.suppress(ReadModelUnavailable):
        known = await read_models.known_log()
        marks = await read_models.known_marks()
    await check_log(known)
    if marks.refusals:
        raise LogLost("; ".join(marks.refusals))
    if lost := await reader.lost(marks.marks):
        raise lost_error(lost[0])
