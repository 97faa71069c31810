"""What a reader without a schema remembers of what it has read, to notice that the log has lost it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from events.errors import LogLost, LogUnavailable
from events.leaders import Leaders
from events.log import Mark

LOOK_SECONDS = 1.0
COMPARE_SECONDS = 60.0

logger = logging.getLogger(__name__)


class ReadTrail:
    """Marks of what was read since they were last compared, one a second of the log, and one from before."""

    def __init__(
        self,
        lost: Callable[[Sequence[Mark]], Awaitable[Sequence[Mark]]],
        epochs: Callable[[], Awaitable[Mapping[int, int]]],
    ) -> None:
        """`lost` compares with the log, `epochs` tells the leaders; both raise `LogUnavailable`."""
        self._lost = lost
        self._epochs = epochs
        self._leaders = Leaders()
        self._marks: dict[tuple[int, int], Mark] = {}
        self._failure: LogLost | None = None

    def begin(self) -> None:
        """The reader begins somewhere else: what it has read before does not matter."""
        self._marks.clear()
        self._failure = None

    def add(self, marks: Iterable[Mark]) -> None:
        """The last records of what was read now."""
        for mark in marks:
            self._marks[mark.partition, mark.appended_ms // 1000] = mark

    def raise_if_lost(self) -> None:
        """Raise `LogLost` once the log was found to have lost what was read."""
        if self._failure is not None:
            raise self._failure

    async def watch(self) -> None:
        """Compare every minute, and when a partition has got another leader. For ever."""
        waited = 0.0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            waited += LOOK_SECONDS
            try:
                if self._leaders.have_changed(await self._epochs()) or waited >= COMPARE_SECONDS:
                    await self.compare()
                    waited = 0.0
            except LogUnavailable as error:
                logger.debug("what was read was not compared with the log: %s", error)
                waited = COMPARE_SECONDS  # once it answers

    async def compare(self) -> None:
        """Look whether the log still holds what was read. Raises `LogUnavailable`."""
        compared = dict(self._marks)
        lost = await self._lost(list(compared.values()))
        if any(self._marks.get((mark.partition, mark.appended_ms // 1000)) == mark for mark in lost):
            self._failure = lost_error(lost[0])
            return
        newest: dict[int, Mark] = {}
        for place, mark in compared.items():
            newest[mark.partition] = max(mark, newest.get(mark.partition, mark))
            if self._marks.get(place) == mark:
                del self._marks[place]
        for mark in newest.values():
            self._marks.setdefault((mark.partition, mark.appended_ms // 1000), mark)


def lost_error(mark: Mark) -> LogLost:
    """What a process says that finds a record lost and cannot note it."""
    return LogLost(
        f"{mark.topic}/{mark.partition} has lost records that were read: another one stands at offset "
        f"{mark.offset}, or none; see docs/operations.md, and `hokusai-auth log refusals`"
    )
