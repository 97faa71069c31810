"""Whether the log is still the one that the read models and the node's store were made from."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from events.errors import LogLost, LogUnavailable, WrongLog
from events.log import LogReader
from events.log_identity import LogIdentity
from events.read_trail import lost_error
from services.api.directory.freshness import Freshness
from services.api.errors import ReadModelUnavailable
from services.api.ports import CheckLog, SnapshotReadModels
from services.api.read_models import KnownMarks

logger = logging.getLogger(__name__)

CHECK_SECONDS = 60.0


class LogWatch:
    """Asks Kafka and Postgres when the follower starts, and every minute."""

    def __init__(
        self, read_models: SnapshotReadModels, check_log: CheckLog, reader: LogReader, freshness: Freshness
    ) -> None:
        self._read_models = read_models
        self._check_log = check_log
        self._reader = reader
        self._freshness = freshness
        self._is_our_log = True

    async def run(self) -> None:
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
        self._freshness.our_log(is_ours=self._is_our_log)

    async def confirm(self) -> LogIdentity:
        """Which log it is. Raises `WrongLog` unless it is ours, `LogUnavailable` where it does not answer.

        Where Postgres is away any log is ours: the log has it all.
        """
        known, marks = None, KnownMarks()
        with contextlib.suppress(ReadModelUnavailable):
            known = await self._read_models.known_log()
            marks = await self._read_models.known_marks()
        found = await self._check_log(known)
        if marks.refusals:
            raise LogLost("; ".join(marks.refusals))
        if lost := await self._reader.lost(marks.marks):
            raise lost_error(lost[0])
        return found
